// What the published tables say, as documents (CONTRACTS.md, docs/api.md).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/result.h"
#include "src/shm/tables.h"

namespace shunt::api {

std::string hash_text(std::uint64_t table_hash);  // 16 hex digits

// One service's look-up table: {"service","family","table_size","generation","source":"live",…}. An error if the
// service is not in the tables, or has no VIP of this family.
Result<nlohmann::json> live_table(const shm::Tables& tables, std::string_view service, Family family);

// What of a generation belongs to each service. Copied: it stays valid when the tables change.
struct LiveBackend {
    std::vector<std::uint32_t> handles{};  // indices, one per VIP it serves
    bool takes_new_flows{};
};
struct LiveService {
    ServiceIndex index{};
    std::array<std::uint64_t, 2> table_hash{};      // IPv4, IPv6; 0 where there is none
    std::vector<std::string> without_backends{};    // VIPs with no backend to go to
    std::map<std::string, LiveBackend> backends{};  // by Maglev key
};
// All of them, or the one of this name.
std::map<std::string, LiveService> live_services(const shm::Tables& tables, std::string_view only = {});

}  // namespace shunt::api
