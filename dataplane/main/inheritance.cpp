#include "dataplane/main/inheritance.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "dataplane/main/test_hooks.h"

namespace shunt::dataplane {
namespace {

constexpr Duration patience = Duration::seconds(5);
// It stops its workers at once; if it does not, it has given this process up, and kills it.
constexpr Duration until_stopped = Duration::seconds(60);

Error no_predecessor() {
    return {.message = "there is no data plane that hands over to this one",
            .remedy = "--successor is for `shunt upgrade` alone; start without it"};
}

}  // namespace

Result<Inheritance> Inheritance::read(int channel) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    Inheritance result;
    result.channel_ = Channel(xdp::Descriptor(channel));
    while (auto received = result.channel_.receive(patience)) {
        const Message& message = received->message;
        switch (message.kind) {
            case Message::Kind::instance_lock:
                result.instance_lock = std::move(received->descriptor);
                break;
            case Message::Kind::state_lock:
                result.state_lock = std::move(received->descriptor);
                break;
            case Message::Kind::interface_lock:
                result.interface_locks[message.interface] = std::move(received->descriptor);
                break;
            case Message::Kind::frames:
                result.frames.push_back({message.shape, std::move(received->descriptor)});
                break;
            case Message::Kind::socket:
                result.sockets[{message.interface, message.worker}] = std::move(received->descriptor);
                break;
            case Message::Kind::all:
                if (message.number == hand_over_protocol) return result;
                return Error{.message = "the data plane that runs hands over in another way",
                             .remedy = "restart it instead: flows are kept"};
            default:
                return no_predecessor();
        }
    }
    return no_predecessor();
}

bool Inheritance::fits(const std::vector<int>& interfaces, std::uint16_t workers, const xdp::FrameShape& shape) const {
    if (frames.size() != workers || sockets.size() != interfaces.size() * workers) return false;
    for (const auto& memory : frames) {
        if (memory.shape != shape) return false;
    }
    for (const int interface : interfaces) {
        for (std::uint32_t queue = 0; queue < workers; ++queue) {
            if (!sockets.contains({interface, queue})) return false;
        }
    }
    return true;
}

Result<Inheritance::Stopped> Inheritance::take_over(bool wants_sockets) {
    die_if_asked("prepared");
    Message ready{.kind = Message::Kind::ready};
    ready.keeps_sockets = wants_sockets ? 1 : 0;
    channel_.send(ready);
    die_if_asked("ready");
    const auto received = channel_.receive(until_stopped);
    if (!received || received->message.kind != Message::Kind::stopped) {
        return Error{.message = "the data plane that runs did not hand over"};
    }
    ::prctl(PR_SET_PDEATHSIG, 0);
    die_if_asked("stopped");
    return Stopped{received->message.number,
                   {received->message.at},
                   received->message.keeps_sockets != 0,
                   received->message.was_fit != 0};
}

void Inheritance::say_forwarding(Instant at) {
    die_if_asked("forwarding");
    channel_.send({.kind = Message::Kind::forwarding, .at = at.nanoseconds});
    over_ = true;
}

void Inheritance::refuse(const Error& error) {
    if (over_) return;
    Message message{.kind = Message::Kind::refused};
    message.set_text(error.text());
    channel_.send(message);
}

}  // namespace shunt::dataplane
