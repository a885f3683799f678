// The health machine: which backends answer, decided from probe results alone. Pure: no sockets, no clock reads; time
// is handed in and randomness comes from one seed, so the simulator runs this code.
//
// One check per CheckSpec, however many services share it. Level-triggered: `status` says what holds now; a Transition
// only says that it has just changed.
//
// Verdicts (DESIGN section 5):
//  * `up` becomes `down` after `fall` failures in a row, `down` becomes `up` after `rise` successes in a row.
//  * `unknown` (never a result) becomes `up` or `down` with the first result: there is nothing yet to protect from
//    flapping, and a new service should not send clients to a dead machine for `fall` intervals.
//  * A check that never succeeded comes up with its first success, whatever `rise` says ("its first success brings it
//    in"). A `down` that was read back from the published tables waits for `rise`.
//  * `not_run` changes nothing, and neither does a timeout that was seen far too late: then we were stopped, not the
//    backend silent. The last verdict stays.
// What `unknown` means for traffic is the core's to say: out, unless nothing of the service was ever checked.
//
// Timing: probes of one check start `interval` apart, start to start, less a random 0 to 10 %; never two at once, so a
// probe that outlasts its interval delays the next. The first probe follows at once, new checks 100 microseconds apart;
// the interval after the first probe, and after one that started over an interval late, is a random share of it: so a
// thousand checks that began together do not stay together. With timeout <= interval a backend that stops answering is
// down within fall x interval + timeout of the last byte it served.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "controlplane/health/check.h"
#include "src/base/random.h"

namespace shunt::controlplane {

enum class Verdict : std::uint8_t { unknown, up, down };
std::string_view to_string(Verdict verdict) noexcept;

struct WantedCheck {
    CheckSpec spec{};
    // Used only if the spec is new here: what the published tables said before a restart, or what the backend's
    // previous check said before an operator changed it.
    Verdict initial{Verdict::unknown};
};

struct CheckStatus {
    Verdict verdict{Verdict::unknown};
    Instant since{};          // of this verdict
    std::uint32_t against{};  // results in a row that speak against the verdict
    std::uint64_t probes{};   // results so far, not_run included
    Outcome last_outcome{};   // of the latest result; meaningless while probes is 0
    std::string last_text{};
    Instant last_finished{};
    Duration last_duration{};
};

struct Transition {
    CheckSpec spec{};
    Verdict from{};
    Verdict to{};
    std::string text{};  // of the result that decided
    Instant at{};
};

class HealthMachine {
  public:
    explicit HealthMachine(std::uint64_t seed) noexcept : random_(seed) {}

    // The set of wanted checks is exactly this from now on; the same spec may appear more than once (the first initial
    // verdict that is not unknown counts). Unchanged specs keep verdict, streak, schedule and the probe in flight.
    void reconfigure(std::span<const WantedCheck> wanted, Instant now);

    // When `due` will next have something; nothing while no check is waiting.
    std::optional<Instant> next_due() const noexcept;
    // The probes to start now, earliest first. Each must be answered by one call of `apply`.
    std::vector<ProbeRequest> due(Instant now);

    // Results of checks that are gone, or of probes that are not in flight, are ignored.
    std::optional<Transition> apply(const ProbeResult& result);

    Verdict verdict(const CheckSpec& spec) const noexcept;            // unknown if there is no such check
    const CheckStatus* status(const CheckSpec& spec) const noexcept;  // null if there is no such check; until changed
    std::size_t size() const noexcept { return entries_.size(); }
    std::size_t in_flight() const noexcept { return entries_.size() - queue_.size(); }

  private:
    struct SpecHash {
        std::size_t operator()(const CheckSpec& spec) const noexcept;
    };
    struct Entry {
        CheckSpec spec{};
        CheckStatus status{};
        Instant planned{};       // start of the next probe
        bool ever_up{};          // succeeded once, or its verdict was handed in
        bool probing{};          // then it is not in the queue
        bool spread_next{true};  // see Timing
    };

    void add(const WantedCheck& wanted, Instant first, Instant now);
    Duration next_interval(Entry& entry);
    static std::optional<Verdict> judge(Entry& entry, bool success) noexcept;

    Random random_;
    std::uint64_t last_id_{};
    std::map<CheckId, Entry> entries_{};
    std::unordered_map<CheckSpec, CheckId, SpecHash> ids_{};
    std::set<std::pair<Instant, CheckId>> queue_{};  // every check that is not being probed
};

}  // namespace shunt::controlplane
