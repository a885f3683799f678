// From the desired state, the verdicts of the checks and the network to what the data plane needs: an image of one
// generation. Pure: no clock, no files, no sockets. Only what changed is computed again.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "controlplane/compile/image.h"
#include "controlplane/compile/ledger.h"
#include "controlplane/compile/network_view.h"
#include "controlplane/compile/next_hops.h"
#include "controlplane/compile/service_image.h"
#include "src/base/result.h"
#include "src/base/time.h"
#include "src/config/desired_state.h"

namespace shunt::controlplane {

struct Inputs {
    const config::DesiredState& state;
    // verdicts[s][b] is that of state.services[s].backends[b]; rows and entries that are absent mean `unchecked`. Not
    // looked at where a service has no check.
    std::span<const std::vector<shm::Verdict>> verdicts{};
    // Null: nothing is known but the static next hops. The same pointer means that nothing changed.
    std::shared_ptr<const NetworkView> network{};
    HashSeed site_seed{};
    Instant now{};  // for retired ids; later than 0
};

class Compiler {
  public:
    Compiler() = default;
    // Goes on with the ids of a published generation, so that a restart changes nothing.
    explicit Compiler(const shm::Tables& published);
    Compiler(const Compiler&) = delete;  // what is prepared belongs to one book
    Compiler& operator=(const Compiler&) = delete;
    Compiler(Compiler&&) = default;
    Compiler& operator=(Compiler&&) = default;

    // In two steps, so that something that may fail can lie between them. Preparing finds every error (too many of
    // something, two backends that are the same on the wire) and changes nothing; it takes the place of what was
    // prepared before and not committed.
    Status prepare(const Inputs& inputs);
    // The image is that of this object: it holds until the next commit.
    const Image& commit();
    void cancel();

    // Both steps.
    Result<const Image*> compile(const Inputs& inputs);
    // What was committed last; not to be published before the first time.
    const Image& image() const noexcept { return ledger_.image(); }

  private:
    // What a service was made of, and what it became.
    struct Compiled {
        config::Service service{};
        config::Timeouts timeouts{};  // of the data plane
        std::vector<shm::Verdict> verdicts{};
        ServiceNumbers numbers{};
        std::array<FamilyTable, 2> tables{};

        bool made_of(const config::Service& other, const config::Timeouts& general,
                     std::span<const shm::Verdict> said) const;
    };
    struct Changed;
    struct Change;

    Status settle(const Inputs& inputs, Change& change);
    const Compiled& before(std::size_t position, const std::string& name) const;
    bool has_order(const std::vector<config::Service>& services) const;
    Result<std::vector<ServiceNumbers>> gone(const std::vector<config::Service>& wanted) const;
    Ledger ledger_{};
    std::unordered_map<std::string, std::shared_ptr<const Compiled>> services_{};
    std::vector<std::shared_ptr<const Compiled>> order_{};  // of the last state, and most often that of the next one
    std::optional<NextHops> hops_{};
    std::shared_ptr<Change> prepared_{};
};

}  // namespace shunt::controlplane
