#include "dataplane/main/channel.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace shunt::dataplane {
namespace {

// Room for the one descriptor that goes with a message.
union Control {
    cmsghdr header;
    std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

msghdr envelope(iovec& part, Control& control, std::size_t control_bytes) noexcept {
    msghdr result{};
    result.msg_iov = &part;
    result.msg_iovlen = 1;
    result.msg_control = control_bytes > 0 ? &control : nullptr;
    result.msg_controllen = control_bytes;
    return result;
}

}  // namespace

Result<std::pair<Channel, xdp::Descriptor>> Channel::open() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return Error{.message = std::string("cannot make a channel to a successor: ") + std::strerror(errno)};
    }
    return std::pair(Channel(xdp::Descriptor(ends[0])), xdp::Descriptor(ends[1]));
}

bool Channel::send(const Message& message, int descriptor) const noexcept {
    iovec part{.iov_base = const_cast<Message*>(&message), .iov_len = sizeof message};
    Control control{};
    msghdr envelope_ = envelope(part, control, descriptor >= 0 ? sizeof control.bytes : 0);
    if (descriptor >= 0) {
        cmsghdr* header = CMSG_FIRSTHDR(&envelope_);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof descriptor);
        std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    }
    return ::sendmsg(socket_.get(), &envelope_, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof message);
}

std::optional<Received> Channel::receive(Duration patience) noexcept {
    pollfd event{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&event, 1, static_cast<int>(patience.nanoseconds / 1'000'000)) != 1) return std::nullopt;
    Received received;
    iovec part{.iov_base = &received.message, .iov_len = sizeof received.message};
    Control control{};
    msghdr envelope_ = envelope(part, control, sizeof control.bytes);
    const ssize_t length = ::recvmsg(socket_.get(), &envelope_, MSG_CMSG_CLOEXEC);
    closed_ = length != static_cast<ssize_t>(sizeof received.message);
    const cmsghdr* header = CMSG_FIRSTHDR(&envelope_);
    if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
        int descriptor = -1;
        std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
        received.descriptor = xdp::Descriptor(descriptor);
    }
    if (closed_) return std::nullopt;
    received.message.text.back() = '\0';
    return received;
}

}  // namespace shunt::dataplane
