// The answers to reads, as docs/api.md has them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

#include "controlplane/ha/ha.h"
#include "controlplane/state/core.h"
#include "controlplane/sync/standing.h"
#include "src/shm/state_file.h"
#include "src/shm/tables.h"

namespace shunt::controlplane {

using Json = nlohmann::json;

// Facts of this process that the core does not know.
struct ProcessFacts {
    std::string config_file{};
    Instant started{};
    std::uint32_t pid{};
    bool from_saved_state{};                   // at start
    bool file_differs{};                       // the configuration file is another than the one last taken
    std::vector<std::string> warnings{};       // of the start
    std::vector<std::string> host_warnings{};  // of this moment
    const Ha* ha{};                            // null: nobody keeps it
    sync::Standing sync{};
};

struct Documents {
    const Core& core;
    std::optional<shm::StateReader> state;   // of the data plane, if there ever was one
    std::span<const shm::StateReader> left;  // by its predecessors, whose flows it still looks aside into
    shm::Tables tables;
    const ProcessFacts& facts;
    Now now;

    Json status() const;
    Json services() const;
    Json service(const config::Service& service) const;  // {"service", "status"}
    Json backends(const config::Service& service) const;
    Json backend(const config::Service& service, const config::Backend& backend) const;
    Json overrides() const;
    Json workers() const;
    Json drops(bool zeros) const;
    Json ports() const;
    Json config() const;
    Json ha() const;  // and its flow sync
    Json sync() const;
    Json events(std::uint64_t since) const;
};

Json to_json(const ChangeReply& reply);
Json to_json(const Override& override, Now now);

}  // namespace shunt::controlplane
