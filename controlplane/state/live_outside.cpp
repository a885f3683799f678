#include "controlplane/state/live_outside.h"

#include <map>
#include <utility>

#include "controlplane/state/saved.h"

namespace shunt::controlplane {

LiveOutside::LiveOutside(Store store, Publisher publisher, Guard guard)
    : store_(std::move(store)),
      publisher_(std::move(publisher)),
      guard_(std::move(guard)),
      compiler_(publisher_.tables()) {}

Status LiveOutside::save(const Wanted& wanted, Now now) { return store_.save(write_saved(wanted, now)); }

Status LiveOutside::prepare(const Picture& picture, Now now) {
    const auto seed = site_seed(picture.state.node);
    if (!seed) return seed.error();
    return compiler_.prepare({.state = picture.state,
                              .verdicts = picture.verdicts,
                              .network = picture.network,
                              .site_seed = *seed,
                              .now = now.instant});
}

Result<Road> LiveOutside::publish() {
    const Image& image = compiler_.commit();
    if (!publisher_.may_publish()) return Road::busy;
    const auto generation = publisher_.publish(image);
    if (!generation) return generation.error();
    return Road::published;
}

ReadBack LiveOutside::read_back() const {
    auto verdicts = read_verdicts(publisher_.tables());
    return [verdicts = std::move(verdicts)](const config::Service& service, const config::Backend& backend) {
        const auto found = verdicts.find({service.name, backend.address, backend.port});
        if (found == verdicts.end() || found->second == shm::Verdict::unchecked) return Verdict::unknown;
        return found->second == shm::Verdict::up ? Verdict::up : Verdict::down;
    };
}

Result<HashSeed> LiveOutside::site_seed(const config::Node& node) {
    if (node.hash_seed_file.empty()) return publisher_.random_seed();
    if (seed_ && seed_file_ == node.hash_seed_file) return *seed_;
    auto seed = read_seed(node.hash_seed_file);
    if (!seed) return seed.error();
    seed_file_ = node.hash_seed_file;
    seed_ = *seed;
    return *seed_;
}

}  // namespace shunt::controlplane
