#include "controlplane/publish/requests.h"

#include <algorithm>
#include <cstring>

namespace shunt::controlplane {

Result<std::uint64_t> ask(shm::TablesHeader& tables, const shm::StateHeader* serving, const Asked& asked) {
    if (serving == nullptr) {
        return Error{.message = "no data plane runs that could do it", .remedy = "start shunt-dataplane"};
    }
    if (serving->tables_identity != shm::identity_of(tables)) {
        return Error{.message = "the data plane does not use these tables", .remedy = "restart shunt-dataplane"};
    }
    const std::uint64_t newest = tables.requested.load(std::memory_order_relaxed);
    const std::uint64_t answered = serving->answered.load(std::memory_order_acquire);
    if (newest - std::min(answered, newest) >= shm::request_ring) {
        return Error{.message = "too many requests wait for the data plane already", .remedy = "try again in a moment"};
    }
    shm::Request& request = tables.requests[(newest + 1) % shm::request_ring];
    request.number = newest + 1;
    request.kind = asked.kind;
    request.milliseconds = asked.milliseconds;
    request.filter = asked.filter;
    if (asked.kind == shm::RequestKind::upgrade) {
        tables.program = {};
        asked.program.copy(tables.program.data(), longest_program);
    }
    tables.requested.store(newest + 1, std::memory_order_release);
    return newest + 1;
}

std::optional<RequestEnd> end_of(std::uint64_t request, const shm::StateHeader* serving) noexcept {
    if (serving == nullptr) return RequestEnd{};
    if (serving->answered.load(std::memory_order_acquire) < request) return std::nullopt;
    const shm::RequestAnswer& answer = serving->answers[request % shm::request_ring];
    const bool is_its = answer.number == request;
    const bool done = is_its && answer.outcome == shm::RequestOutcome::done;
    const bool refused = is_its && answer.outcome == shm::RequestOutcome::refused;
    if (refused) {
        const auto& text = serving->refusal;
        return RequestEnd{.refused = true, .refusal = {text.data(), ::strnlen(text.data(), text.size())}};
    }
    if (!done) return RequestEnd{};
    return RequestEnd{
        .carried_out = true, .flows = answer.flows, .gap = {answer.gap_nanoseconds}, .successor = answer.successor};
}

}  // namespace shunt::controlplane
