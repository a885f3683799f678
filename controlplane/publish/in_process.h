// Both regions in one process and no daemon: what `shunt replay` and tests run the packet path on.
#pragma once

#include <cstddef>

#include "controlplane/publish/publisher.h"
#include "src/shm/generation.h"
#include "src/shm/region.h"
#include "src/shm/state.h"

namespace shunt::controlplane {

class InProcess {
  public:
    InProcess(const shm::StateShape& shape, const HashSeed& flow_seed,
              shm::Region::Pages pages = shm::Region::Pages::small);
    InProcess(const InProcess&) = delete;  // readers hold on to the regions

    // Publishes, and accepts as the main thread of a data plane does: validated.
    Status publish(const Image& image);

    const std::byte* tables_region() const noexcept { return publisher_.region(); }
    shm::Tables tables() const noexcept { return publisher_.tables(); }
    shm::State state() noexcept { return shm::State(state_.data()); }

  private:
    Publisher publisher_;
    shm::Region state_;
    shm::Acceptor acceptor_;
};

}  // namespace shunt::controlplane
