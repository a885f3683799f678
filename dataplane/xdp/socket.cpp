#include "dataplane/xdp/socket.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

namespace shunt::dataplane::xdp {
namespace {

constexpr auto predecessors_end = std::chrono::seconds(2);
constexpr auto look_again_after = std::chrono::microseconds(200);
// As DPDK's driver has them: with busy polling three times as many packets pass.
constexpr int busy_microseconds = 20, busy_packets = 64;

Error failure(const Interface& interface, const std::string& what, int error) {
    return {.message = "interface " + interface.name + ": " + what + ": " + std::strerror(error),
            .remedy = error == EPERM || error == EACCES ? needed_rights : ""};
}

template <class Value>
int set(int socket, int level, int option, const Value& value) {
    return ::setsockopt(socket, level, option, &value, sizeof value) == 0 ? 0 : errno;
}

int prepare(int socket, const Frames& frames, std::uint32_t descriptors) {
    xdp_umem_reg memory;
    std::memset(&memory, 0, sizeof memory);  // newer kernels have a field where this header has padding
    memory.addr = reinterpret_cast<std::uintptr_t>(frames.data());
    memory.len = frames.size();
    memory.chunk_size = frames.shape().bytes;
    if (const int error = set(socket, SOL_XDP, XDP_UMEM_REG, memory)) return error;
    for (const int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING}) {
        if (const int error = set(socket, SOL_XDP, ring, descriptors)) return error;
    }
    return 0;
}

int bind_to(int socket, const Interface& interface, std::uint32_t queue) {
    sockaddr_xdp address{};
    address.sxdp_family = AF_XDP;
    address.sxdp_flags = XDP_USE_NEED_WAKEUP;
    address.sxdp_ifindex = static_cast<std::uint32_t>(interface.index);
    address.sxdp_queue_id = queue;
    return ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

int bind_when_free(int socket, const Interface& interface, std::uint32_t queue) {
    const auto deadline = std::chrono::steady_clock::now() + predecessors_end;
    for (;;) {
        const int error = bind_to(socket, interface, queue);
        if (error != EBUSY || std::chrono::steady_clock::now() >= deadline) return error;
        std::this_thread::sleep_for(look_again_after);
    }
}

}  // namespace

Result<Socket> Socket::open(const Interface& interface, std::uint32_t queue, const Frames& frames,
                            std::uint32_t descriptors) {
    Socket result;
    result.socket_ = Descriptor(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
    if (!result.socket_) return failure(interface, "cannot open an AF_XDP socket", errno);
    if (const int error = prepare(result.get(), frames, descriptors)) {
        return failure(interface, "the kernel does not take the memory for packets or the rings", error);
    }
    if (auto mapped = result.map_rings(interface, descriptors); !mapped) return mapped.error();
    if (const int error = bind_when_free(result.get(), interface, queue)) {
        return failure(interface, "cannot serve its queue " + std::to_string(queue) + " by AF_XDP", error);
    }
    result.poll_busily();
    return result;
}

Result<Socket> Socket::adopt(const Interface& interface, Descriptor socket, std::uint32_t descriptors) {
    Socket result;
    result.socket_ = std::move(socket);
    if (auto mapped = result.map_rings(interface, descriptors); !mapped) return mapped.error();
    result.poll_busily();
    return result;
}

Status Socket::map_rings(const Interface& interface, std::uint32_t descriptors) {
    xdp_mmap_offsets offsets{};
    socklen_t size = sizeof offsets;
    if (::getsockopt(get(), SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size) != 0 || size != sizeof offsets) {
        return failure(interface, "the kernel does not say where the rings are", errno);
    }
    std::size_t next = 0;
    int error = 0;
    const auto map = [&]<class Entry>(Ring<Entry>& ring, const xdp_ring_offset& at, std::uint64_t page) {
        const std::size_t bytes = at.desc + descriptors * sizeof(Entry);
        void* memory =
            ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, get(), static_cast<off_t>(page));
        if (memory == MAP_FAILED) {
            error = errno;
            return;
        }
        mappings_[next++] = {memory, bytes};
        ring = Ring<Entry>(static_cast<std::byte*>(memory), at, descriptors);
    };
    map(fill_, offsets.fr, XDP_UMEM_PGOFF_FILL_RING);
    map(sent_, offsets.cr, XDP_UMEM_PGOFF_COMPLETION_RING);
    map(received_, offsets.rx, XDP_PGOFF_RX_RING);
    map(sending_, offsets.tx, XDP_PGOFF_TX_RING);
    return error == 0 ? Status(Done{}) : failure(interface, "cannot map the rings", error);
}

// A kernel or driver that cannot is slower, and nothing else.
void Socket::poll_busily() noexcept {
    polls_busily_ = set(get(), SOL_SOCKET, SO_PREFER_BUSY_POLL, 1) == 0 &&
                    set(get(), SOL_SOCKET, SO_BUSY_POLL, busy_microseconds) == 0 &&
                    set(get(), SOL_SOCKET, SO_BUSY_POLL_BUDGET, busy_packets) == 0;
}

Socket& Socket::operator=(Socket&& other) noexcept {
    std::swap(socket_, other.socket_);
    std::swap(mappings_, other.mappings_);
    std::swap(fill_, other.fill_);
    std::swap(sent_, other.sent_);
    std::swap(received_, other.received_);
    std::swap(sending_, other.sending_);
    std::swap(polls_busily_, other.polls_busily_);
    return *this;
}

Socket::~Socket() {
    for (const Mapping& mapping : mappings_) {
        if (mapping.memory != nullptr) ::munmap(mapping.memory, mapping.size);
    }
}

void Socket::look() const noexcept {
    if (polls_busily_ || fill_.wants_call()) ::recvfrom(get(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
}

bool Socket::send() const noexcept {
    if (!sending_.wants_call() || ::send(get(), nullptr, 0, MSG_DONTWAIT) >= 0) return true;
    return errno != EAGAIN && errno != EBUSY && errno != EINTR;
}

std::uint64_t Socket::missed() const noexcept {
    xdp_statistics statistics{};
    socklen_t size = sizeof statistics;
    if (::getsockopt(get(), SOL_XDP, XDP_STATISTICS, &statistics, &size) != 0) return 0;
    return statistics.rx_dropped + statistics.rx_ring_full;
}

}  // namespace shunt::dataplane::xdp
