// The words of closed lists in the configuration: those known, and those whose feature is not built yet.
#pragma once

#include <array>

#include "src/config/values.h"

namespace shunt::config {

inline constexpr std::array<Word<Idle>, 2> idle_words{{{"poll", Idle::poll}, {"sleep", Idle::sleep}}};
inline constexpr std::array<std::string_view, 1> later_idle{"interrupt"};
inline constexpr auto mode_words = [] {
    std::array<Word<ForwardingMode>, forwarding_modes.size()> words{};
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = {forwarding_modes[i].name, forwarding_modes[i].mode};
    return words;
}();
inline constexpr std::array<std::string_view, 1> later_modes{"full-nat"};
inline constexpr auto scheduler_words = [] {
    std::array<Word<Scheduler>, schedulers.size()> words{};
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = {schedulers[i].name, schedulers[i].scheduler};
    return words;
}();
inline constexpr std::array<Word<Affinity>, 3> affinity_words{
    {{"5-tuple", Affinity::five_tuple}, {"source", Affinity::source}, {"source-port", Affinity::source_port}}};
static_assert(affinity_words.size() == static_cast<std::size_t>(Affinity::count));
inline constexpr std::array<Word<OnNoBackend>, 1> no_backend_words{{{"drop", OnNoBackend::drop}}};
inline constexpr std::array<std::string_view, 2> later_no_backend{"reset", "sorry"};
inline constexpr std::array<Word<CheckType>, 2> check_words{{{"tcp", CheckType::tcp}, {"http", CheckType::http}}};
inline constexpr std::array<std::string_view, 7> later_checks{"https", "udp", "dns", "icmp", "grpc", "exec", "agent"};
inline constexpr std::array<Word<BackendState>, 3> state_words{
    {{"ready", BackendState::ready}, {"drain", BackendState::drain}, {"maint", BackendState::maint}}};
inline constexpr std::array<Word<SyncFlows>, 2> sync_words{{{"pinned", SyncFlows::pinned}, {"all", SyncFlows::all}}};
inline constexpr std::array<Word<bool>, 2> xdp_words{{{"native", false}, {"generic", true}}};

// Choices with one answer so far; their keys are accepted, so that a file may say what is done.
struct Fixed {
    bool operator==(const Fixed&) const = default;
};
inline constexpr std::array<Word<Fixed>, 1> backends_from_words{{{"file", {}}}};
inline constexpr std::array<std::string_view, 1> later_backends_from{"api"};
inline constexpr std::array<Word<Fixed>, 1> via_words{{{"direct", {}}}};
inline constexpr std::array<std::string_view, 1> later_via{"datapath"};

}  // namespace shunt::config
