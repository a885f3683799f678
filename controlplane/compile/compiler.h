// From the desired state, the verdicts of the checks and the network to what the data plane needs: an image of one
// generation. Pure: no clock, no files, no sockets. Only what changed is computed again.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "controlplane/compile/book.h"
#include "controlplane/compile/image.h"
#include "controlplane/compile/network_view.h"
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

// May be copied, to see what a change would do without making it.
class Compiler {
  public:
    Compiler() = default;
    // Goes on with the ids of a published generation.
    explicit Compiler(Book book);

    // The image is that of this object: it holds until the next call. An error (too many of something, two backends
    // that are the same on the wire) changes nothing: the old image stays, and with it all ids.
    Result<const Image*> compile(const Inputs& inputs);
    const Image& image() const noexcept { return image_; }
    const Book& book() const noexcept { return book_; }

  private:
    // A backend as one VIP reaches it.
    struct Use {
        std::uint32_t vip{};      // position in the service
        std::uint32_t backend{};  // position in the service
        shm::Handle handle{};
        SourceNumber source{};
        NextHopIndex next_hop{};
    };
    // The table of one family: who is in it, in key order, and the slots.
    struct FamilyTable {
        std::vector<std::uint32_t> backends{};   // positions in the service
        std::vector<config::Backend> members{};  // the same, as values
        SharedVector<std::uint16_t> slots{};
        std::uint64_t hash{};
    };
    struct CompiledService {
        // What it was made of.
        config::Service service{};
        config::Timeouts timeouts{};  // of the data plane
        std::vector<shm::Verdict> verdicts{};

        ServiceIndex index{};
        std::vector<ListenerIndex> listeners{};  // by position of the VIP
        std::vector<Use> uses{};
        std::vector<bool> awaited{};  // by position of the backend
        std::array<FamilyTable, 2> tables{};
    };
    struct Network;
    struct Change;

    Image image_{};
    Book book_{};
    std::unordered_map<std::string, CompiledService> services_{};
    std::vector<std::vector<ListenerIndex>> source_listeners_{};  // by source number, ascending
    std::vector<std::uint32_t> hop_uses_{};                       // by next hop: backends that need it
    std::shared_ptr<const Network> network_{};
};

}  // namespace shunt::controlplane
