// Flows as documents (docs/api.md).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "src/shm/flow_scan.h"
#include "src/shm/tables.h"

namespace shunt::api {

// {"client","client_port","vip","service","backend","state","idle_ms","workers"}
nlohmann::json to_json(const shm::Flow& flow, const shm::Tables& tables);

// How many flows there are of each service, backend, state or worker. A flow counts for each worker that has a copy.
class FlowCounts {
  public:
    enum class By : std::uint8_t { service, backend, state, worker };
    static std::optional<By> parse(std::string_view word) noexcept;  // "service", …
    static std::string_view word(By by) noexcept;

    explicit FlowCounts(By by) : by_(by) {}
    void add(const shm::Flow& flow);
    // [{"service": "web", "flows": 12}], the key being what is counted by; most flows first, then by name.
    nlohmann::json to_json(const shm::Tables& tables) const;

  private:
    nlohmann::json name_of(std::uint32_t id, const shm::Tables& tables) const;

    By by_;
    std::unordered_map<std::uint32_t, std::uint64_t> counts_{};  // by index, handle, state or worker
};

}  // namespace shunt::api
