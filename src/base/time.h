// Time as values. Nothing here reads a clock: time is handed in (DESIGN section 4).
#pragma once

#include <compare>
#include <cstdint>

namespace shunt {

// A span of time in nanoseconds.
struct Duration {
    std::int64_t nanoseconds{};

    static constexpr Duration milliseconds(std::int64_t n) noexcept { return {n * 1'000'000}; }
    static constexpr Duration seconds(std::int64_t n) noexcept { return {n * 1'000'000'000}; }
    constexpr std::int64_t in_milliseconds() const noexcept { return nanoseconds / 1'000'000; }
    friend constexpr auto operator<=>(Duration, Duration) noexcept = default;
    friend constexpr Duration operator+(Duration a, Duration b) noexcept { return {a.nanoseconds + b.nanoseconds}; }
    friend constexpr Duration operator-(Duration a, Duration b) noexcept { return {a.nanoseconds - b.nanoseconds}; }
    friend constexpr Duration operator*(Duration a, std::int64_t n) noexcept { return {a.nanoseconds * n}; }
};

// A point on CLOCK_MONOTONIC, in nanoseconds since boot.
struct Instant {
    std::int64_t nanoseconds{};

    friend constexpr auto operator<=>(Instant, Instant) noexcept = default;
    friend constexpr Instant operator+(Instant t, Duration d) noexcept { return {t.nanoseconds + d.nanoseconds}; }
    friend constexpr Instant operator-(Instant t, Duration d) noexcept { return {t.nanoseconds - d.nanoseconds}; }
    friend constexpr Duration operator-(Instant a, Instant b) noexcept { return {a.nanoseconds - b.nanoseconds}; }
};

// Quarter seconds, the unit in which flows age. Flow entries keep the low 24 bits (48 days); ages are differences
// modulo 2^24, so the longest timeout (one week) fits with room.
struct Tick {
    static constexpr std::uint32_t bits = 24;
    static constexpr std::uint32_t mask = (1U << bits) - 1;
    static constexpr std::int64_t nanoseconds = 250'000'000;
    static constexpr std::uint32_t clock_skew = 16;

    std::uint32_t value{};  // modulo 2^24

    static constexpr Tick at(Instant t) noexcept {
        return {static_cast<std::uint32_t>(static_cast<std::uint64_t>(t.nanoseconds / nanoseconds)) & mask};
    }
    // Ticks from an earlier `then` to this one. Another worker may have read its clock a moment later than we: what
    // seems to come from the next few ticks is now.
    constexpr std::uint32_t since(Tick then) const noexcept {
        const std::uint32_t age = (value - then.value) & mask;
        return age > mask - clock_skew ? 0 : age;
    }
    friend constexpr bool operator==(Tick, Tick) noexcept = default;
};

// Timeouts in ticks, rounded up: a flow never dies before its time.
constexpr std::uint32_t to_ticks(Duration d) noexcept {
    return static_cast<std::uint32_t>((d.nanoseconds + Tick::nanoseconds - 1) / Tick::nanoseconds);
}

}  // namespace shunt
