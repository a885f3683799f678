// Nodes in one thread: each a whole balancer with flow sync, over a network that loses, repeats, delays and reorders
// datagrams, with one clock moved by hand.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/sync/identity.h"
#include "controlplane/sync/node.h"
#include "dataplane/tables/peer_flows.h"
#include "src/base/random.h"
#include "tests/support/instance.h"
#include "tests/support/sync_key.h"

namespace shunt::test {

namespace sync = controlplane::sync;

struct SyncNode {
    static constexpr HashSeed flow_seed{
        {0x8f1bbcdc5a827999, 0x6ed9eba1ca62c1d6, 0x243f6a8885a308d3, 0x13198a2e03707344}};

    SyncNode(std::vector<config::Service> services, std::uint16_t workers, std::uint64_t buckets)
        : balancer(std::move(services), workers, buckets),
          table(sync::PeerTable::in_memory({.buckets = buckets, .seed = flow_seed, .tables_identity = 1})),
          flows(table.region(), Duration{}) {}

    Instance balancer;
    sync::PeerTable table;
    dataplane::PeerFlows flows;
    sync::Address address{};
    sync::Key key{sync_key()};
    sync::Which which{sync::Which::pinned};
    std::uint64_t seed_fingerprint{1};
    std::unique_ptr<sync::Node> node{};
    std::vector<std::string> told{};
    bool down{};

    sync::View view() {
        return {.state = shm::StateReader(balancer.state()),
                .tables = balancer.tables(),
                .tables_identity = 1,
                .identity = {seed_fingerprint, sync::configuration_hash(balancer.desired())},
                .tables_hash = sync::tables_hash(balancer.tables()),
                .which = which};
    }
};

class SyncGroup {
  public:
    struct Weather {
        double loss{}, repeated{}, reordered{};
    };
    using Bytes = std::vector<std::byte>;

    explicit SyncGroup(std::vector<config::Service> services, std::size_t nodes = 2, std::uint16_t workers = 2,
                       std::uint64_t buckets = 1024) {
        for (std::size_t i = 0; i < nodes; ++i) {
            auto& node = *nodes_.emplace_back(std::make_unique<SyncNode>(services, workers, buckets));
            node.address = {IpAddress::v4(198, 18, 1, static_cast<std::uint8_t>(11 + i)), 7400};
            for (std::uint16_t w = 0; w < workers; ++w) node.balancer.worker(w).follow_peers(&node.flows);
        }
    }

    SyncNode& operator[](std::size_t i) { return *nodes_[i]; }
    std::size_t size() const { return nodes_.size(); }
    Instant now() { return nodes_[0]->balancer.clock.now(); }

    // Another start of the control plane: it knows nothing of the one before but what is in the region.
    void start(std::size_t i) {
        SyncNode& self = *nodes_[i];
        sync::Settings settings{.name = "lb" + std::to_string(i + 1),
                                .software = "test",
                                .group = "edge",
                                .key = self.key,
                                .flows = 4096,
                                .epoch = random_() | 1};
        if (multicast) {
            settings.multicast_group = group_address;
        } else {
            for (std::size_t other = 0; other < nodes_.size(); ++other) {
                if (other != i) settings.peers.push_back(nodes_[other]->address);
            }
        }
        self.node = std::make_unique<sync::Node>(
            settings, self.table, now(),
            [this, &self](const sync::Address& to, std::span<const std::byte> bytes) { post(self, to, bytes); },
            [&self](bool, const std::string& sentence) { self.told.push_back(sentence); });
    }
    void start() {
        for (std::size_t i = 0; i < nodes_.size(); ++i) start(i);
    }
    // The machine is lost, with all it knew.
    void reboot(std::size_t i, std::vector<config::Service> services) {
        const auto old = std::move(nodes_[i]);
        nodes_[i] =
            std::make_unique<SyncNode>(std::move(services), old->balancer.state().shape().workers, old->table.size());
        nodes_[i]->address = old->address;
        nodes_[i]->balancer.clock.advance(now_of(*old) - nodes_[i]->balancer.clock.now());
        for (std::uint16_t w = 0; w < 2; ++w) nodes_[i]->balancer.worker(w).follow_peers(&nodes_[i]->flows);
        start(i);
    }

    void run(Duration time) {
        constexpr Duration step = Duration::milliseconds(1);
        for (Duration gone{}; gone < time; gone = gone + step) {
            for (auto& node : nodes_) node->balancer.clock.advance(step);
            deliver();
            for (auto& node : nodes_) {
                if (node->node && !node->down) node->node->advance(node->view(), now());
            }
        }
    }
    void hand(std::size_t to, const sync::Address& from, const Bytes& bytes) {
        nodes_[to]->node->receive(from, bytes, nodes_[to]->view(), now());
    }

    Weather weather{};
    bool multicast{};
    bool recording{};
    struct Recorded {
        sync::Address from, to;
        Bytes bytes;
    };
    std::vector<Recorded> recorded{};
    std::uint64_t datagrams{};
    std::size_t largest{};
    inline static const sync::Address group_address{
        IpAddress::v6({0xff, 0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}), 7401};

  private:
    static Instant now_of(SyncNode& node) { return node.balancer.clock.now(); }
    bool chance(double share) { return static_cast<double>(random_.below(1'000'000)) < share * 1e6; }

    void post(SyncNode& from, const sync::Address& to, std::span<const std::byte> bytes) {
        ++datagrams;
        largest = std::max(largest, bytes.size());
        if (recording) recorded.push_back({from.address, to, Bytes(bytes.begin(), bytes.end())});
        for (auto& node : nodes_) {
            if (node.get() == &from || (to != group_address && node->address != to)) continue;
            const int copies = chance(weather.repeated) ? 2 : 1;
            for (int i = 0; i < copies; ++i) {
                if (chance(weather.loss)) continue;
                const auto late = chance(weather.reordered) ? 5 + random_.below(60) : 1;
                const Instant due = now() + Duration::milliseconds(static_cast<std::int64_t>(late));
                wire_.emplace(due, Flying{from.address, node.get(), Bytes(bytes.begin(), bytes.end())});
            }
        }
    }
    void deliver() {
        while (!wire_.empty() && wire_.begin()->first <= now()) {
            const Flying flying = std::move(wire_.begin()->second);
            wire_.erase(wire_.begin());
            for (auto& node : nodes_) {  // one that was rebooted gets nothing of what was for it
                if (node.get() == flying.to && node->node && !node->down) {
                    node->node->receive(flying.from, flying.bytes, node->view(), now());
                }
            }
        }
    }

    struct Flying {
        sync::Address from;
        const SyncNode* to;
        Bytes bytes;
    };
    std::vector<std::unique_ptr<SyncNode>> nodes_{};
    std::multimap<Instant, Flying> wire_{};
    Random random_{4711};
};

}  // namespace shunt::test
