// What is asked about flows: listed, counted, or killed without being killed (docs/api.md). Answers come later.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "controlplane/server/flow_scans.h"
#include "src/api/flows.h"

namespace shunt::controlplane {

constexpr std::size_t default_flows_listed = 1000;
constexpr std::size_t most_flows_listed = 10'000;

// A filter in force, and as it was said.
struct FlowQuestion {
    shm::FlowFilter filter{};
    std::string text{};
};

using FlowAnswer = std::function<void(const Result<Json>&)>;

// {"filter","flows":[…],"listed","total"}: the first `limit` of them.
void list_flows(FlowScans& scans, const FlowQuestion& question, std::size_t limit, FlowAnswer answer);
// {"filter","total","by","counts":[…]}
void count_flows(FlowScans& scans, const FlowQuestion& question, std::optional<api::FlowCounts::By> by,
                 FlowAnswer answer);
// A change (docs/api.md), as if with dry_run.
void preview_kill(FlowScans& scans, const FlowQuestion& question, FlowAnswer answer);

// A change, with "flows".
Json to_json(const KillReply& reply, const Core& core);

}  // namespace shunt::controlplane
