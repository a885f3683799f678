// The desired state: everything an operator can say, as types. One document; TOML in files, JSON in the API
// (toml.h, json.h). Values here are already checked one by one; what must hold between them is in validate.h.
// Defaults are those of docs/reference.md. Durations are nanoseconds inside, text such as "800ms" outside.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "src/balance/scheduler.h"
#include "src/base/time.h"
#include "src/net/address.h"
#include "src/net/forwarding_mode.h"
#include "src/net/vip.h"

namespace shunt::config {

struct Node {
    std::string name{"lb"};
    std::string hash_seed_file{};     // empty: a random seed is kept in the tables region
    std::vector<IpAddress> source{};  // outer source of tunnels and source of checks; never translated
    bool operator==(const Node&) const = default;
};

// How long a flow is remembered after its last packet. In a service, absent means the data plane's value.
struct Timeouts {
    std::optional<Duration> tcp_established{};
    std::optional<Duration> tcp_syn{};
    std::optional<Duration> tcp_fin{};
    std::optional<Duration> udp{};
    bool operator==(const Timeouts&) const = default;
};

enum class Idle : std::uint8_t { poll, sleep };

struct AfXdpPort {
    std::string device{};
    bool generic{};  // generic XDP, only when asked for by name (xdp = "generic")
    bool operator==(const AfXdpPort&) const = default;
};
struct VdevPort {
    std::string arguments{};  // as EAL takes it: "net_tap0,iface=x"
    bool operator==(const VdevPort&) const = default;
};
struct CapturePort {
    std::string in{}, out{}, punt{};
    bool operator==(const CapturePort&) const = default;
};

struct Port {
    std::string name{};
    std::variant<AfXdpPort, VdevPort, CapturePort> kind{};
    std::uint16_t queues{};  // as many as workers
    std::optional<MacAddress> mac{};
    std::vector<MacAddress> virtual_mac{};
    std::uint16_t mtu{1500};  // capture ports; the others ask the device
    bool operator==(const Port&) const = default;
};

struct Dataplane {
    std::uint16_t workers{1};
    std::vector<std::uint16_t> cores{};  // empty: the first `workers` cores we may run on
    Idle idle{Idle::poll};
    std::uint64_t flows{1'048'576};
    Timeouts timeouts{Duration::seconds(3600), Duration::seconds(10), Duration::seconds(30), Duration::seconds(60)};
    std::vector<Port> ports{};
    bool operator==(const Dataplane&) const = default;
};

struct NextHop {
    IpAddress address{};
    std::vector<Prefix> prefix{};  // also the gateway for these
    MacAddress mac{};
    std::string port{};
    std::uint16_t mtu{1500};
    std::optional<std::vector<std::uint16_t>> vlan{};  // outermost first, at most two; absent: as the frame came
    bool operator==(const NextHop&) const = default;
};

enum class CheckType : std::uint8_t { tcp, http };

struct StatusRange {
    std::uint16_t first{200}, last{399};
    bool operator==(const StatusRange&) const = default;
};

struct Check {
    CheckType type{CheckType::tcp};
    std::string path{"/"};
    std::string host{};  // empty: the backend's address
    std::vector<StatusRange> status{StatusRange{}};
    std::optional<std::uint16_t> port{};  // absent: the backend's port on the wire
    Duration interval{Duration::seconds(1)};
    Duration timeout{Duration::milliseconds(800)};  // from the first byte sent to the verdict, everything included
    std::uint32_t rise{2};
    std::uint32_t fall{3};
    bool operator==(const Check&) const = default;
};

enum class BackendState : std::uint8_t { ready, drain, maint };

struct Backend {
    IpAddress address{};
    std::uint16_t port{0};  // 0: the VIP's port, or each packet's own where the VIP has several
    std::uint32_t weight{100};
    BackendState state{BackendState::ready};

    std::string key() const { return address_and_port(address, port); }  // Maglev's key (DESIGN section 6)
    bool operator==(const Backend&) const = default;
};

constexpr std::uint16_t least_load_factor = 101, default_load_factor = 125, most_load_factor = 1000;  // hundredths

enum class OnNoBackend : std::uint8_t { drop };

// What a mode needs of these (src/net/forwarding_mode.h says which it takes).
struct Tunnel {
    std::optional<std::uint16_t> port{};  // UDP; absent: the mode's own
    std::optional<std::uint32_t> vni{};   // 24 bits
    std::optional<std::uint32_t> key{};   // absent: none is sent
    std::optional<MacAddress> inner_mac{};
    bool operator==(const Tunnel&) const = default;
};

// The most a SYN may announce as its segment size.
struct Mss {
    enum class Kind : std::uint8_t { automatic, off, fixed };
    Kind kind{Kind::automatic};
    std::uint16_t value{};  // of fixed
    bool operator==(const Mss&) const = default;
};

// How many backends have to be up for a service to be announced. Lost below `up`, found again at `up` and `hysteresis`
// more.
struct Quorum {
    std::uint32_t up{1};
    std::uint32_t hysteresis{0};
    bool operator==(const Quorum&) const = default;
};

struct Service {
    std::string name{};
    std::vector<Vip> vips{};
    ForwardingMode mode{default_forwarding_mode};
    Scheduler scheduler{default_scheduler};
    std::optional<Affinity> affinity{};          // absent: the scheduler's own
    std::optional<std::uint16_t> load_factor{};  // in hundredths, of maglev-bounded; absent: default_load_factor
    std::optional<std::uint32_t> table_size{};   // chosen at creation, then written into the desired state
    bool flows{true};
    bool direct_access{false};
    Mss mss{};
    std::optional<std::uint8_t> dscp{};
    Tunnel tunnel{};
    Timeouts timeouts{};
    OnNoBackend on_no_backend{OnNoBackend::drop};
    Quorum quorum{};
    std::optional<Check> check{};
    std::vector<Backend> backends{};
    Affinity effective_affinity() const noexcept { return affinity.value_or(traits_of(scheduler).affinity); }
    bool operator==(const Service&) const = default;
};

// One digit each, for keepalived to track: 0, this node can serve; 1, it cannot. Empty: below the run directory.
struct TrackFiles {
    std::string dataplane{};
    std::string controlplane{};
    bool operator==(const TrackFiles&) const = default;
};

// What this node tells those who may serve in its stead.
struct Ha {
    TrackFiles track_files{};
    Duration hold{Duration::seconds(3)};  // of health without a break, before 0 is written again
    bool operator==(const Ha&) const = default;
};

constexpr std::size_t most_sync_peers = 31;

// What is told of flows: those that the peers could not derive from the tables, or all.
enum class SyncFlows : std::uint8_t { pinned, all };

// Flow sync with the nodes that may serve in this one's stead.
struct Sync {
    std::string group{"shunt"};
    AddressAndPort listen{};
    std::vector<AddressAndPort> peers{};  // or one multicast group
    std::string key_file{};
    SyncFlows flows{SyncFlows::pinned};
    bool operator==(const Sync&) const = default;
};

struct DesiredState {
    Node node{};
    Dataplane dataplane{};
    std::vector<NextHop> next_hops{};
    std::vector<Service> services{};
    std::string api_socket{};                     // empty: RUN_DIR/api.sock
    std::optional<AddressAndPort> http_listen{};  // absent: nowhere
    std::optional<Ha> ha{};                       // absent: no track files
    std::optional<Sync> sync{};                   // absent: no flow sync
    std::string announce_device{};                // where VIPs are put; empty: placing them is not our business
    bool operator==(const DesiredState&) const = default;
};

}  // namespace shunt::config
