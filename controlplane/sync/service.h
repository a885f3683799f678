// Flow sync in earnest: the socket, the region `peers`, the key, and the event loop. Follows what is wanted: begins,
// ends and begins anew as [sync] says.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "controlplane/sync/standing.h"
#include "src/config/desired_state.h"

namespace shunt::controlplane::sync {

// What the rest of the control plane knows.
struct Surroundings {
    std::function<std::optional<shm::StateReader>()> state;
    std::function<std::span<const shm::StateReader>()> left;  // what its predecessors left, after `state`
    std::function<shm::Tables()> tables;
    std::function<std::uint64_t()> tables_identity;
    // A sentence for people; true: something is wrong.
    std::function<void(bool, const std::string&)> tell;
};

class Service {
  public:
    Service(boost::asio::io_context& io, std::string directory, Surroundings around);

    // What is wanted now. What cannot be done is said once, and tried again a little later.
    void follow(const config::DesiredState& wanted, std::uint64_t revision);
    // Tables, addresses or configuration may be others now.
    void wake();

    // Nothing is configured, or this node knows what its peers know: it may take over from them.
    bool in_sync() const;
    Standing standing() const;
    // Kills what the filter means among what the peers said.
    std::uint64_t erase(const shm::FlowFilter& filter);

  private:
    using Udp = boost::asio::ip::udp;
    struct Listener {
        explicit Listener(boost::asio::io_context& io) : socket(io) {}
        Udp::socket socket;
        Udp::endpoint from{};
        std::array<std::byte, 2048> bytes{};
    };

    Status begin();
    void end();
    Status open_sockets();
    void listen(const std::shared_ptr<Listener>& listener);
    void turn();
    View view();
    void fail(const Error& error);

    boost::asio::io_context& io_;
    std::string directory_;
    Surroundings around_;
    std::optional<config::Sync> settings_{};
    std::optional<std::uint64_t> revision_{};
    std::string name_{};
    std::uint64_t flows_{};
    std::uint64_t configuration_{};
    std::uint64_t tables_hash_{};
    std::uint64_t seed_fingerprint_{};
    Generation seen_{};
    std::uint64_t identity_{};     // of the tables file
    std::uint64_t incarnation_{};  // of the state region
    std::optional<Key> key_{};
    std::optional<PeerTable> table_{};
    std::unique_ptr<Node> node_{};
    std::vector<std::shared_ptr<Listener>> listeners_{};
    boost::asio::steady_timer timer_;
    std::string problem_{};
    Instant not_before_{};
};

}  // namespace shunt::controlplane::sync
