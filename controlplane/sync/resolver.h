// Between a node's own numbers and the addresses nodes tell each other.
#pragma once

#include <optional>
#include <unordered_map>

#include "controlplane/compile/book.h"
#include "controlplane/sync/record.h"
#include "src/shm/flow.h"
#include "src/shm/tables.h"

namespace shunt::controlplane::sync {

FlowRecord to_record(const shm::FlowKey& key, const shm::ListenerRecord& listener, const shm::BackendRecord& backend,
                     shm::FlowState state, std::uint32_t idle);

// A record in the ids of one generation.
struct Resolved {
    shm::FlowKey key{};
    shm::Handle handle{};
    const shm::ListenerRecord* listener{};
};

class Resolver {
  public:
    // From here on by these tables; cheap if they are the same.
    void follow(const shm::Tables& tables);
    // Nothing: there is no such listener, it keeps no flows, its service has no such backend, or no flow can be so.
    std::optional<Resolved> resolve(const FlowRecord& record) const;

  private:
    shm::Tables tables_{};
    std::unordered_map<ServiceEndpoint, shm::Handle, KeyHash> handles_{};
};

}  // namespace shunt::controlplane::sync
