// The size that DESIGN promises: 4,096 services of 16 backends. It fits, it validates, and a change costs what changed.
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <vector>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/publisher.h"
#include "controlplane/publish/reachable.h"
#include "src/config/toml.h"
#include "src/config/validate.h"
#include "src/shm/generation.h"
#include "src/shm/validate.h"

namespace shunt::controlplane {
namespace {

constexpr std::size_t backends_each = 16;
constexpr std::size_t services_per_vip = 32;

// One address for 32 services: thirty of one port, one of a range, and one that takes all other ports.
Vip vip_of(std::size_t service) {
    const auto address = static_cast<std::uint8_t>(1 + service / services_per_vip);
    const std::size_t place = service % services_per_vip;
    PortRange ports = Be16(static_cast<std::uint16_t>(8000 + place));
    if (place == 30) ports = {Be16(9000), Be16(9999)};
    if (place == 31) ports = PortRange::all();
    return {IpAddress::v4(198, 18, 0, address), ports, Protocol::udp};
}

IpAddress machine(std::size_t number) {
    return IpAddress::v4(198, 19, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number));
}

config::DesiredState fleet_of(std::size_t services) {
    config::DesiredState state;
    state.dataplane.ports.push_back({.name = "lan0", .kind = config::AfXdpPort{"eth1"}, .queues = 1});
    for (std::size_t s = 0; s < services; ++s) {
        config::Service service{.name = "s" + std::to_string(s), .vips = {vip_of(s)}};
        for (std::size_t b = 0; b < backends_each; ++b) {
            service.backends.push_back({.address = machine(s * backends_each + b)});
        }
        service.check = config::Check{};
        service.check->port = 80;
        state.services.push_back(std::move(service));
    }
    config::fix_table_sizes(state);
    return state;
}

// A control plane with this fleet, and what its changes write.
class Plane {
  public:
    explicit Plane(std::size_t services) : state(fleet_of(services)), verdicts(services) {
        auto view = std::make_shared<NetworkView>();
        view->port_mtu = {1500};
        view->routes.push_back({*Prefix::parse("198.18.0.0/15"), PortIndex(0), IpAddress::v4(198, 18, 1, 1)});
        network_ = std::move(view);
        for (auto& row : verdicts) row.resize(backends_each, shm::Verdict::up);
    }

    struct Written {
        std::size_t blocks{};
        std::uint64_t bytes{};         // of all blocks
        std::uint64_t page_offsets{};  // of those, what lists the pages of a record's array
        std::uint64_t beside() const { return bytes - page_offsets; }
    };
    Written publish() {
        const auto image = compiler_.compile(
            {.state = state, .verdicts = verdicts, .network = network_, .site_seed = {{1, 2, 3, 4}}, .now = {1}});
        EXPECT_TRUE(image) << image.error().text();
        const auto generation = publisher_.publish(compiler_.image());
        EXPECT_TRUE(generation) << generation.error().text();
        const auto& header = *reinterpret_cast<const shm::TablesHeader*>(publisher_.region());
        const shm::BlockOffset root = *shm::find_root(header, *generation);
        const auto refused = validator_.check(*generation, root);
        EXPECT_FALSE(refused) << static_cast<int>(*refused);
        auto now = reachable(publisher_.region(), root);
        std::vector<Extent> fresh;
        std::set_difference(now.begin(), now.end(), blocks_.begin(), blocks_.end(), std::back_inserter(fresh));
        blocks_ = std::move(now);
        Written written{.blocks = fresh.size()};
        for (const Extent& extent : fresh) {
            const auto& block = *reinterpret_cast<const shm::BlockHeader*>(publisher_.region() + extent.offset);
            written.bytes += extent.bytes;
            if (block.kind == shm::BlockKind::page_table) written.page_offsets += extent.bytes;
        }
        return written;
    }
    shm::Tables tables() const { return publisher_.tables(); }

    config::DesiredState state;
    std::vector<std::vector<shm::Verdict>> verdicts;

  private:
    static constexpr std::uint64_t region_bytes = std::uint64_t{256} << 20;

    std::shared_ptr<const NetworkView> network_{};
    Compiler compiler_{};
    Publisher publisher_ = Publisher::in_memory(region_bytes);
    shm::Validator validator_{publisher_.region(), region_bytes};
    std::vector<Extent> blocks_{};
};

// What one change after the other writes.
std::map<std::string, Plane::Written> changes_of(std::size_t services) {
    Plane plane(services);
    plane.publish();
    std::map<std::string, Plane::Written> written;
    const std::size_t s = services / 2;
    auto& backends = plane.state.services[s].backends;
    backends[3].weight = 50;
    written["weight"] = plane.publish();
    backends[4].state = config::BackendState::drain;
    written["drain"] = plane.publish();
    plane.verdicts[s][5] = shm::Verdict::down;
    written["down"] = plane.publish();
    backends.pop_back();
    plane.verdicts[s].pop_back();
    written["removal"] = plane.publish();
    backends.push_back({.address = machine(0)});
    plane.verdicts[s].push_back(shm::Verdict::up);
    written["addition"] = plane.publish();
    written["nothing"] = plane.publish();
    return written;
}

TEST(Scale, AChangeWritesTheSameHoweverManyServicesThereAre) {
    const auto few = changes_of(128), many = changes_of(4096);
    for (const auto& [what, written] : many) {
        const Plane::Written& small = few.at(what);
        EXPECT_EQ(written.blocks, small.blocks) << what;
        EXPECT_LE(written.blocks, 14U) << what;
        // Slots, handles, and the pages of the records that changed.
        EXPECT_EQ(written.beside(), small.beside()) << what;
        EXPECT_LE(written.beside(), 60'000U) << what;
        // Eight bytes for every page there is, in the arrays that changed.
        EXPECT_LE(written.page_offsets, 100'000U) << what;
    }
    EXPECT_EQ(many.at("nothing").blocks, 0U);
}

TEST(Scale, EveryServiceIsFoundByItsPorts) {
    Plane plane(4096);
    plane.publish();
    const shm::Tables tables = plane.tables();
    for (std::size_t s = 0; s < plane.state.services.size(); ++s) {
        const Vip vip = plane.state.services[s].vips[0];
        for (const Be16 port : {vip.ports.first, vip.ports.last}) {
            const ListenerIndex index = tables.listener_of(vip.address, port, vip.protocol);
            const shm::ListenerRecord& listener = tables.listeners[index.value];
            ASSERT_EQ(shm::name_of(tables.services[listener.service.value]), plane.state.services[s].name);
            ASSERT_EQ(listener.backends, backends_each);
        }
    }
    EXPECT_EQ(tables.listener_map.find(vip_of(0).address, shm::any_port, shm::any_protocol), services_per_vip);
}

// A thousand ranges at one address: a search is short, and no range finds another's listener.
TEST(Scale, ManyRangesAtOneAddress) {
    Plane plane(1);
    for (std::uint16_t i = 0; i < 1000; ++i) {
        config::Service service = plane.state.services[0];
        service.name = "r" + std::to_string(i);
        service.vips[0].ports = {Be16(static_cast<std::uint16_t>(10'000 + 10 * i)),
                                 Be16(static_cast<std::uint16_t>(10'000 + 10 * i + 7))};
        service.backends.resize(1);
        plane.state.services.push_back(service);
        plane.verdicts.push_back({shm::Verdict::up});
    }
    EXPECT_TRUE(config::validate(plane.state)) << config::validate(plane.state).error().text();
    plane.publish();
    const shm::Tables tables = plane.tables();
    for (std::uint16_t port = 9'990; port < 20'010; ++port) {
        const ListenerIndex index = tables.listener_of(vip_of(0).address, Be16(port), Protocol::udp);
        const bool within = port >= 10'000 && port < 20'000 && port % 10 < 8;
        ASSERT_EQ(bool(index), within) << port;
        ASSERT_TRUE(!within || tables.listeners[index.value].ports().contains(Be16(port))) << port;
    }
}

// A control plane that writes nonsense: what the validator can see is refused, and what it cannot ends at use.
TEST(Scale, WrongRangesAreRefusedOrHarmless) {
    Compiler compiler;
    const config::DesiredState state = fleet_of(services_per_vip);
    ASSERT_TRUE(compiler.compile({.state = state, .now = {1}}));
    const auto judged = [&](auto&& spoil, auto&& use) {
        Image image = compiler.image();
        for (ListenerImage& listener : image.listeners) {
            if (listener.record.in_use) spoil(listener.record);
        }
        Publisher publisher = Publisher::in_memory();
        const auto generation = publisher.publish(image);
        EXPECT_TRUE(generation);
        const auto& header = *reinterpret_cast<const shm::TablesHeader*>(publisher.region());
        use(publisher.tables());
        return shm::Validator(publisher.region(), header.file_bytes.load())
            .check(*generation, *shm::find_root(header, *generation));
    };
    const auto unused = [](const shm::Tables&) {};
    EXPECT_EQ(judged([](shm::ListenerRecord&) {}, unused), std::nullopt);
    EXPECT_EQ(judged([](shm::ListenerRecord& l) { std::swap(l.port, l.last_port); }, unused),
              shm::RefusalReason::index);
    EXPECT_EQ(judged([](shm::ListenerRecord& l) { l.flags ^= shm::ListenerRecord::many_ports; }, unused),
              shm::RefusalReason::index);
    const ListenerIndex nowhere(65535), itself(static_cast<std::uint16_t>(services_per_vip));
    for (const ListenerIndex wrong : {nowhere, itself}) {
        judged(
            [&](shm::ListenerRecord& l) {
                l.ranges = {wrong, wrong, wrong};
            },
            [&](const shm::Tables& tables) {
                for (const Be16 port : {Be16(1), Be16(9500), Be16(65535)}) {
                    tables.listener_of(vip_of(0).address, port, Protocol::udp);
                }
            });
    }
}

// What `shunt config check` does with a file of this size.
TEST(Scale, TheFileIsReadAndJudged) {
    const config::DesiredState state = fleet_of(4096);
    config::Positions positions;
    const auto read = config::parse_toml(config::to_toml(state), "f", &positions);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(*read, state);
    const config::Findings findings = config::examine(*read, positions);
    EXPECT_TRUE(findings.errors.empty()) << findings.errors.front().text();
    EXPECT_TRUE(findings.warnings.empty()) << findings.warnings.front().text();
}

}  // namespace
}  // namespace shunt::controlplane
