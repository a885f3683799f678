// Stands for disk, tables and kernel in tests of the deciding core.
#pragma once

#include <vector>

#include "controlplane/state/core.h"

namespace shunt::controlplane {

// Remembers what it was told, and fails as it is told.
class FakeOutside : public Outside {
  public:
    Status save(const Wanted& wanted, Now) override {
        if (disk_full) return Error{.message = "cannot save the state: No space left on device"};
        saved.push_back(wanted);
        return Done{};
    }
    Status prepare(const Picture& picture, Now) override {
        ++prepared;
        if (inexpressible) return Error{.message = "too many backends"};
        candidate = {picture.state, picture.verdicts};
        return Done{};
    }
    Result<Road> publish() override {
        if (no_memory) return Error{.message = "cannot get 4 KiB"};
        if (busy) return Road::busy;
        if (!(published == candidate)) {
            published = candidate;
            ++now_at.published.value;
        }
        return Road::published;
    }
    Progress progress() override { return now_at; }
    Status guard(const GuardRules& rules) override {
        guarded = rules;
        ++guards;
        return Done{};
    }
    Result<bool> guard_present() override { return guard_there; }
    Status announce(const Announcement& announcement) override {
        ++announces;
        if (cannot_announce) return Error{.message = "cannot make the device"};
        announced = announcement;
        return Done{};
    }
    Result<std::vector<IpAddress>> announced_on(const std::string&) override { return announced.addresses; }
    Result<std::uint64_t> ask(const Asked& what) override {
        if (!now_at.alive) return Error{.message = "no data plane runs that could do it"};
        asked.push_back(what);
        return asked.size();
    }
    std::optional<RequestEnd> end_of(std::uint64_t request) override {
        return request <= ended.size() ? std::optional(ended[request - 1]) : std::nullopt;
    }

    void workers_pass(Generation generation) {
        now_at.accepted = generation;
        for (auto& worker : now_at.workers) worker.passed = generation;
    }

    struct Content {
        config::DesiredState state{};
        std::vector<std::vector<shm::Verdict>> verdicts{};
        bool operator==(const Content&) const = default;
    };
    bool disk_full{}, inexpressible{}, no_memory{}, busy{};
    bool guard_there{true}, cannot_announce{};
    int prepared{}, guards{}, announces{};
    Announcement announced{};
    Progress now_at{};
    Content candidate{}, published{};
    GuardRules guarded{};
    std::vector<Wanted> saved{};
    std::vector<Asked> asked{};  // request n is the n-th
    std::vector<RequestEnd> ended{};
};

}  // namespace shunt::controlplane
