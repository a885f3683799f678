// What happened, for people: a bounded list, oldest first. Ids grow by one from 1 at each start of the process.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

namespace shunt::controlplane {

enum class EventKind : std::uint8_t {
    health,
    config,
    overrides,
    publish,
    dataplane,
    controlplane,
    audit,
    ha,
    announce
};
enum class EventLevel : std::uint8_t { info, warn, error };
std::string_view to_string(EventKind kind) noexcept;
std::string_view to_string(EventLevel level) noexcept;

struct Event {
    std::uint64_t id{};
    std::int64_t unix_ms{};
    EventKind kind{};
    EventLevel level{};
    std::string service{};
    std::string backend{};
    std::string text{};
};

class Events {
  public:
    static constexpr std::size_t limit = 1000;

    // `sink` sees every event as it happens (the log).
    explicit Events(std::function<void(const Event&)> sink = {}) : sink_(std::move(sink)) {}

    void add(Event event);
    const std::deque<Event>& all() const noexcept { return events_; }

  private:
    std::function<void(const Event&)> sink_;
    std::deque<Event> events_{};
    std::uint64_t last_id_{};
};

}  // namespace shunt::controlplane
