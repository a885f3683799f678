// Requests to the running data plane, by the ring in the tables region, and its answers in the state region
// (shm/layout.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/shm/layout.h"

namespace shunt::controlplane {

// What the data plane is asked to do, and the fields of shm::Request that go with it.
struct Asked {
    shm::RequestKind kind{};
    shm::FlowFilter filter{};
    std::uint32_t milliseconds{};
    std::string program{};  // at most longest_program bytes
};
constexpr std::size_t longest_program = sizeof(shm::TablesHeader::program) - 1;

// How a request ended.
struct RequestEnd {
    bool carried_out{};         // false: the data plane that was asked is gone, and may have done a part of it
    bool refused{};             // it is there, and does not do such things
    std::uint64_t flows{};      // that were killed
    Duration gap{};             // of an upgrade: in which nobody forwarded
    std::uint32_t successor{};  // its process id
    std::string refusal{};      // a sentence, where there is one
};

// `serving`: the state of the data plane that runs; null: none does. Returns the number of the request. An error:
// nobody can take it now.
Result<std::uint64_t> ask(shm::TablesHeader& tables, const shm::StateHeader* serving, const Asked& asked);
// Nothing: it is not done yet.
std::optional<RequestEnd> end_of(std::uint64_t request, const shm::StateHeader* serving) noexcept;

}  // namespace shunt::controlplane
