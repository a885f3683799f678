// What is outside the core, in earnest: the state directory, the shared tables, nftables.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "controlplane/compile/compiler.h"
#include "controlplane/network/announcer.h"
#include "controlplane/network/guard.h"
#include "controlplane/publish/publisher.h"
#include "controlplane/state/core.h"
#include "controlplane/state/store.h"

namespace shunt::controlplane {

class LiveOutside : public Outside {
  public:
    LiveOutside(Store store, Publisher publisher, Guard guard);

    Status save(const Wanted& wanted, Now now) override;
    Status prepare(const Picture& picture, Now now) override;
    Result<Road> publish() override;
    Progress progress() override { return publisher_.progress(); }
    Status guard(const GuardRules& rules) override { return guard_.apply(rules); }
    Result<bool> guard_present() override { return guard_.present(); }
    Status announce(const Announcement& announcement) override { return announcer_.announce(announcement); }
    Result<std::vector<IpAddress>> announced_on(const std::string& device) override {
        return announcer_.found_on(device);
    }
    Result<std::uint64_t> ask(const Asked& asked) override {
        if (asked.kind == shm::RequestKind::kill_flows && forget_) forget_(asked.filter);
        return publisher_.ask(asked);
    }
    std::optional<RequestEnd> end_of(std::uint64_t request) override { return publisher_.end_of(request); }

    // Who else knows flows, and is to forget those that are killed.
    void when_killing(std::function<void(const shm::FlowFilter&)> forget) { forget_ = std::move(forget); }

    shm::Tables tables() const noexcept { return publisher_.tables(); }
    std::uint64_t tables_identity() const noexcept { return publisher_.identity(); }
    // The verdicts the published tables carry. Holds a copy.
    ReadBack read_back() const;

  private:
    Result<HashSeed> site_seed(const config::Node& node);

    Store store_;
    Publisher publisher_;
    Guard guard_;
    Announcer announcer_{};
    Compiler compiler_;
    std::function<void(const shm::FlowFilter&)> forget_{};
    std::string seed_file_{};
    std::optional<HashSeed> seed_{};  // as read from seed_file_
};

}  // namespace shunt::controlplane
