// What nodes compare before they use each other's records.
#pragma once

#include <cstdint>

#include "controlplane/sync/datagram.h"
#include "src/config/desired_state.h"
#include "src/shm/tables.h"

namespace shunt::controlplane::sync {

// Says whether two nodes have the same hash seed, and nothing else, to whoever does not have the key.
std::uint64_t seed_fingerprint(const Key& key, const HashSeed& seed);

// Of what the services are: names, VIPs, modes, schedulers, affinities, and who the backends are. Not of what is
// changed in daily work, and on one node after the other: weights, states, checks.
std::uint64_t configuration_hash(const config::DesiredState& state);

// Of all look-up tables in force, whatever numbers their services have here.
std::uint64_t tables_hash(const shm::Tables& tables);

}  // namespace shunt::controlplane::sync
