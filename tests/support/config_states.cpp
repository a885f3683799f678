#include "tests/support/config_states.h"

#include <algorithm>
#include <array>

namespace shunt::config::test {
namespace {

bool coin(Random& random) { return random.below(2) == 0; }

template <class T = std::uint16_t>
T number(Random& random, std::uint64_t least, std::uint64_t most) {
    return static_cast<T>(least + random.below(most - least + 1));
}

template <class F>
auto several(Random& random, std::uint64_t most, F make) {
    std::vector<decltype(make())> list;
    for (std::uint64_t count = random.below(most + 1); count > 0; --count) list.push_back(make());
    return list;
}

IpAddress address(Random& random) {
    if (coin(random))
        return IpAddress::v4(198, 18, number<std::uint8_t>(random, 0, 3), number<std::uint8_t>(random, 1, 9));
    IpAddress::Bytes bytes{0x20, 0x01, 0x0d, 0xb8};
    for (std::size_t i = 4; i < 16; ++i) bytes[i] = coin(random) ? 0 : static_cast<std::uint8_t>(random());
    return IpAddress::v6(bytes);
}

MacAddress mac(Random& random) {
    MacAddress result{{2}};
    for (std::size_t i = 1; i < 6; ++i) result.bytes[i] = static_cast<std::uint8_t>(random());
    return result;
}

// Quotes, escapes and letters beyond ASCII included.
std::string text(Random& random) {
    std::string result;
    for (int i = 0; i < 10; ++i)
        result += std::array{"a", "/", "\"", "\\", "#", "é", "'", " ", "=", "]"}[random.below(10)];
    return result;
}

std::string name(Random& random, const char* kind) { return kind + std::to_string(random.below(5)) + ".a_b-c"; }

// Of several with the same name or address, the first.
template <class T, class Id>
std::vector<T> distinct(const std::vector<T>& all, Id id) {
    std::vector<T> result;
    for (const T& one : all) {
        const auto same = [&](const T& other) { return id(one) == id(other); };
        if (std::ranges::none_of(result, same)) result.push_back(one);
    }
    return result;
}

std::optional<Duration> timeout(Random& random) {
    if (coin(random)) return std::nullopt;
    return Duration::milliseconds(number<std::int64_t>(random, 1000, 604'800'000));
}

Port port(Random& random, std::uint16_t workers) {
    Port result{.name = name(random, "port")};
    switch (random.below(3)) {
        case 0:
            result.kind = AfXdpPort{"eth" + std::to_string(random.below(100)), coin(random)};
            break;
        case 1:
            result.kind = VdevPort{text(random)};
            break;
        default:
            result.kind = CapturePort{text(random), coin(random) ? text(random) : "", coin(random) ? text(random) : ""};
            if (coin(random)) result.mac = mac(random);
            if (coin(random)) result.mtu = number(random, 576, 65535);
    }
    result.queues = coin(random) ? workers : number(random, 1, 64);
    result.virtual_mac = several(random, 3, [&] { return mac(random); });
    return result;
}

Check check(Random& random) {
    Check result;
    result.type = coin(random) ? CheckType::tcp : CheckType::http;
    if (result.type == CheckType::http) {
        if (coin(random)) result.path = "/a\"b\\c?d=e#f%20";
        if (coin(random)) result.host = "www.example.net:80";
        if (coin(random)) result.status = {{200, 299}, {404, 404}};
    }
    if (coin(random)) result.port = number(random, 1, 65535);
    result.interval = Duration::milliseconds(number<std::int64_t>(random, 10, 3'600'000));
    result.timeout = Duration::milliseconds(number<std::int64_t>(random, 10, 3'600'000));
    result.rise = number<std::uint32_t>(random, 1, 1000);
    result.fall = number<std::uint32_t>(random, 1, 1000);
    return result;
}

Backend backend(Random& random) {
    Backend result{.address = address(random)};
    if (coin(random)) result.port = number(random, 1, 65535);
    result.weight = number<std::uint32_t>(random, 0, 1000);
    result.state = std::array{BackendState::ready, BackendState::drain, BackendState::maint}[random.below(3)];
    return result;
}

Tunnel tunnel(Random& random) {
    Tunnel result;
    if (coin(random)) result.port = number(random, 1, 65535);
    if (coin(random)) result.vni = number<std::uint32_t>(random, 0, 0xffffff);
    if (coin(random)) result.key = number<std::uint32_t>(random, 0, 0xffffffff);
    if (coin(random)) result.inner_mac = mac(random);
    return result;
}

NextHop next_hop(Random& random) {
    const auto prefix = [&] {
        return coin(random) ? Prefix{IpAddress::v4(198, 18, 4, 0), 24} : Prefix{IpAddress{}, 0};
    };
    NextHop result{address(random), several(random, 2, prefix), mac(random), name(random, "port")};
    if (coin(random)) result.mtu = number(random, 576, 65535);
    if (coin(random)) result.vlan = several(random, 2, [&] { return number(random, 1, 4094); });
    return result;
}

Service service(Random& random) {
    Service result{.name = name(random, "service")};
    result.vips = several(random, 8, [&] {
        const auto first = number(random, 1, 65535);
        PortRange ports{Be16(first)};
        if (coin(random)) ports.last = Be16(number(random, first, 65535));
        if (random.below(4) == 0) ports = PortRange::all();
        return Vip{address(random), ports, coin(random) ? Protocol::tcp : Protocol::udp};
    });
    if (coin(random)) result.table_size = number<std::uint32_t>(random, 2, 655373);
    result.scheduler = schedulers[random.below(schedulers.size())].scheduler;
    if (coin(random)) result.affinity = Affinity{number<std::uint8_t>(random, 0, 2)};
    if (coin(random)) result.load_factor = number(random, least_load_factor, most_load_factor);
    result.flows = coin(random);
    result.direct_access = coin(random);
    result.mode = forwarding_modes[random.below(forwarding_modes.size())].mode;
    result.mss.kind = std::array{Mss::Kind::automatic, Mss::Kind::off, Mss::Kind::fixed}[random.below(3)];
    if (result.mss.kind == Mss::Kind::fixed) result.mss.value = number(random, 64, 65000);
    if (coin(random)) result.dscp = number<std::uint8_t>(random, 1, 63);
    if (coin(random)) result.tunnel = tunnel(random);
    result.timeouts = {timeout(random), timeout(random), timeout(random), timeout(random)};
    if (coin(random)) result.quorum = {number<std::uint32_t>(random, 0, 9), number<std::uint32_t>(random, 0, 9)};
    if (coin(random)) result.check = check(random);
    result.backends =
        distinct(several(random, 5, [&] { return backend(random); }), [](const Backend& b) { return b.key(); });
    return result;
}

Ha ha(Random& random) {
    Ha result{.hold = Duration::milliseconds(number<std::int64_t>(random, 100, 3'600'000))};
    if (coin(random)) result.track_files.dataplane = "/" + text(random) + "a";
    if (coin(random)) result.track_files.controlplane = "/" + text(random) + "b";
    return result;
}

Sync sync(Random& random) {
    Sync result{.group = name(random, "group"),
                .listen = {address(random), number(random, 1, 65535)},
                .peers = {{address(random), number(random, 1, 65535)}, {address(random), number(random, 1, 65535)}},
                .key_file = "/" + text(random) + "k"};
    if (coin(random)) result.flows = SyncFlows::all;
    return result;
}

}  // namespace

DesiredState random_state(Random& random) {
    DesiredState state;
    state.node.name = name(random, "node");
    if (coin(random)) state.node.hash_seed_file = text(random);
    state.node.source = several(random, 3, [&] { return address(random); });
    Dataplane& dataplane = state.dataplane;
    dataplane.workers = number(random, 1, 64);
    for (std::uint16_t core = 0; coin(random) && core < 100;
         core = static_cast<std::uint16_t>(core + random.below(3) + 1)) {
        dataplane.cores.push_back(core);
        dataplane.workers = static_cast<std::uint16_t>(dataplane.cores.size());
    }
    dataplane.idle = coin(random) ? Idle::poll : Idle::sleep;
    dataplane.flows = number<std::uint64_t>(random, 1, 1 << 30);
    if (coin(random)) dataplane.timeouts.udp = Duration::seconds(number<std::int64_t>(random, 1, 100));
    dataplane.ports = distinct(several(random, 3, [&] { return port(random, dataplane.workers); }),
                               [](const Port& p) { return p.name; });
    const auto hops = several(random, 3, [&] { return next_hop(random); });
    state.next_hops = distinct(hops, [](const NextHop& hop) { return hop.address; });
    state.services =
        distinct(several(random, 4, [&] { return service(random); }), [](const Service& s) { return s.name; });
    if (coin(random)) state.api_socket = text(random);
    if (coin(random)) state.announce_device = "vip" + std::to_string(random.below(100));
    if (coin(random)) state.http_listen = AddressAndPort{address(random), number(random, 1, 65535)};
    if (coin(random)) state.ha = ha(random);
    if (coin(random)) state.sync = sync(random);
    return state;
}

}  // namespace shunt::config::test
