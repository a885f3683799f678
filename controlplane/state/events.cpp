#include "controlplane/state/events.h"

#include <array>
#include <utility>

namespace shunt::controlplane {

std::string_view to_string(EventKind kind) noexcept {
    constexpr std::array<std::string_view, 9> names{"health",       "config", "override", "publish", "dataplane",
                                                    "controlplane", "audit",  "ha",       "announce"};
    return names[static_cast<std::size_t>(kind)];
}

std::string_view to_string(EventLevel level) noexcept {
    constexpr std::array<std::string_view, 3> names{"info", "warn", "error"};
    return names[static_cast<std::size_t>(level)];
}

void Events::add(Event event) {
    event.id = ++last_id_;
    if (sink_) sink_(event);
    events_.push_back(std::move(event));
    if (events_.size() > limit) events_.pop_front();
}

}  // namespace shunt::controlplane
