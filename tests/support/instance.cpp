#include "tests/support/instance.h"

#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>
#include <utility>

#include "src/shm/drop_reason.h"

namespace shunt::test {
namespace {

constexpr HashSeed site_seed{{11, 22, 33, 44}};
constexpr HashSeed flow_seed{{0x5eed, 0xf10, 0x7ab1e, 0xc0ffee}};

template <class T, class Optional>
T must(const Optional& value, const std::string& text) {
    if (!value) throw std::invalid_argument(text);
    return *value;
}

// Backends are neighbours; clients are behind a gateway.
std::vector<config::NextHop> next_hops(const std::vector<config::Service>& services, std::uint16_t mtu) {
    std::map<IpAddress, config::NextHop> hops;
    for (const auto& [address, prefix] : {std::pair{"198.18.1.1", "0.0.0.0/0"}, std::pair{"2001:db8:1::1", "::/0"}}) {
        const auto gateway = must<IpAddress>(IpAddress::parse(address), address);
        hops[gateway] = {gateway, {*Prefix::parse(prefix)}, gateway_mac, "lan0", mtu};
    }
    for (const auto& service : services) {
        for (const auto& b : service.backends) hops[b.address] = {b.address, {}, backend_mac(b.address), "lan0", mtu};
    }
    std::vector<config::NextHop> result;
    for (const auto& [address, hop] : hops) result.push_back(hop);
    return result;
}

}  // namespace

MacAddress backend_mac(const IpAddress& address) { return {{0x02, 0, 0, 0, 0x0b, address.bytes()[15]}}; }

Vip vip(const std::string& text) { return must<Vip>(Vip::parse(text), text); }

config::Backend backend(const std::string& text) {
    if (const auto address = IpAddress::parse(text)) return {.address = *address};
    const auto at = must<AddressAndPort>(parse_address_and_port(text), text);
    return {.address = at.address, .port = at.port};
}

config::Service make_service(const std::string& name, std::vector<std::string> vips,
                             std::vector<std::string> backends) {
    config::Service service;
    service.name = name;
    service.table_size = 1021;
    for (const auto& v : vips) service.vips.push_back(vip(v));
    for (const auto& b : backends) service.backends.push_back(backend(b));
    return service;
}

Instance::Instance(std::vector<config::Service> services, std::uint16_t workers, std::uint64_t buckets_per_worker)
    : adds_next_hops_(true),
      regions_({workers, shm::max_handles, shm::max_services, 0, buckets_per_worker}, flow_seed),
      hand_over_(workers) {
    config::Port lan;
    lan.name = "lan0";
    state_.dataplane.ports.push_back(lan);
    state_.dataplane.workers = workers;
    state_.services = std::move(services);
    start();
}

Instance::Instance(config::DesiredState state, std::uint64_t buckets_per_worker)
    : state_(std::move(state)),
      regions_({state_.dataplane.workers, shm::max_handles, shm::max_services, 0, buckets_per_worker}, flow_seed),
      hand_over_(state_.dataplane.workers) {
    start();
}

void Instance::start() {
    network_ = std::make_shared<controlplane::NetworkView>();
    network_->local_addresses = {*IpAddress::parse("198.18.1.2"), *IpAddress::parse("2001:db8:1::2")};
    dropped_.resize(state_.dataplane.workers);
    for (std::uint16_t i = 0; i < state_.dataplane.workers; ++i) {
        ports_.push_back(std::make_unique<dataplane::MemoryPort>(pool_, port_mac));
    }
    make_workers();
    publish();
}

void Instance::make_workers() {
    workers_.clear();
    for (std::uint16_t i = 0; i < state_.dataplane.workers; ++i) {
        workers_.push_back(std::make_unique<Worker>(regions_.tables_region(), state(), WorkerIndex(i),
                                                    std::vector{ports_[i].get()}, clock, hand_over_));
    }
}

void Instance::restart_workers() {
    state().header().starts = 2;
    for (std::uint16_t i = 0; i < state_.dataplane.workers; ++i) {
        for (auto* counts : {state().own_flows(WorkerIndex(i)).data(), state().flow_offsets(WorkerIndex(i)).data()}) {
            for (std::uint32_t h = 0; h < state().shape().handles; ++h) counts[h].set({}, 0);
        }
    }
    make_workers();
}

void Instance::sum_flows() {
    dataplane::FlowSums sums;
    sums.follow(tables());
    sums.sum(state());
}

void Instance::poll() {
    for (auto& worker : workers_) worker->poll_once();
}

void Instance::sweep() {
    const auto buckets = static_cast<std::int64_t>(state().shape().buckets_per_worker);
    constexpr std::int64_t at_once = dataplane::FlowSweep::buckets_per_step;
    for (std::int64_t bucket = 0; bucket < buckets + at_once; bucket += at_once) {
        clock.advance(Duration{dataplane::FlowSweep::pass.nanoseconds * at_once / buckets + 1});
        poll();
    }
}

void Instance::add_neighbours(const std::string& prefix) {
    auto network = std::make_shared<controlplane::NetworkView>(*network_);
    network->routes.push_back({must<Prefix>(Prefix::parse(prefix), prefix), PortIndex(0), std::nullopt});
    network_ = std::move(network);
    publish();
}

void Instance::set_routes(std::vector<controlplane::RouteView> routes) {
    auto changed = std::make_shared<controlplane::NetworkView>(*network_);
    changed->routes = std::move(routes);
    network_ = std::move(changed);
}

void Instance::set_verdict(const std::string& service, const std::string& backend_key, shm::Verdict verdict) {
    verdicts_[{service, backend_key}] = verdict;
}

std::vector<std::vector<shm::Verdict>> Instance::verdict_rows() const {
    std::vector<std::vector<shm::Verdict>> rows;
    for (const auto& service : state_.services) {
        auto& row = rows.emplace_back();
        for (const auto& b : service.backends) {
            const auto found = verdicts_.find({service.name, b.key()});
            row.push_back(found == verdicts_.end() ? shm::Verdict::up : found->second);
        }
    }
    return rows;
}

void Instance::publish() {
    if (adds_next_hops_) state_.next_hops = next_hops(state_.services, mtu_);
    const auto rows = verdict_rows();
    const auto image = compiler_.compile(
        {.state = state_, .verdicts = rows, .network = network_, .site_seed = site_seed, .now = clock.now()});
    ASSERT_TRUE(image) << image.error().text();
    const auto published = regions_.publish(**image);
    ASSERT_TRUE(published) << published.error().text();
    for (auto& worker : workers_) worker->poll_once();
}

Instance::Output Instance::burst(const std::vector<Bytes>& packets, std::size_t worker) {
    dataplane::MemoryPort& port = *ports_[worker];
    port.allow_punt(punt_allowed_);
    for (const Bytes& packet : packets) EXPECT_TRUE(port.inject(packet));
    new_drops(worker);
    workers_[worker]->poll_once();
    Output output;
    output.dropped = new_drops(worker);
    for (const auto* buffer : port.sent()) output.sent.emplace_back(buffer->bytes().begin(), buffer->bytes().end());
    for (const auto* buffer : port.punted()) output.punted.emplace_back(buffer->bytes().begin(), buffer->bytes().end());
    port.clear_output();
    return output;
}

Seen Instance::forward(const Packet& packet, std::size_t worker) {
    const Output output = burst({packet.build()}, worker);
    EXPECT_EQ(output.sent.size(), 1U);
    return output.sent.empty() ? Seen{} : read(output.sent.front());
}

std::string Instance::fate(const Bytes& packet, std::size_t worker, Bytes* sent) {
    const Output output = burst({packet}, worker);
    if (sent != nullptr && !output.sent.empty()) *sent = output.sent.front();
    if (!output.dropped.empty()) return output.dropped.front();  // first: the sender may have been told
    if (!output.sent.empty()) return "forwarded";
    return output.punted.empty() ? "waiting" : "punted";
}

std::uint64_t Instance::drops(shm::DropReason reason, std::size_t worker) {
    return drop_counts(worker)[static_cast<std::size_t>(reason)];
}

Instance::DropCounts Instance::drop_counts(std::size_t worker) {
    DropCounts counts{};
    const auto services = state().drops(WorkerIndex(static_cast<std::uint16_t>(worker)));
    for (const auto& service : services.first(std::max(1U, tables().services.count()))) {
        for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += service.by_reason[i].read();
    }
    return counts;
}

std::vector<std::string> Instance::new_drops(std::size_t worker) {
    Dropped& known = dropped_[worker];
    std::vector<std::string> names;
    const std::uint64_t all = state().workers()[worker].dropped.read();
    if (all == std::exchange(known.all, all)) return names;
    const DropCounts before = std::exchange(known.by_reason, drop_counts(worker));
    for (std::size_t i = 0; i < before.size(); ++i) {
        names.insert(names.end(), known.by_reason[i] - before[i], std::string(shm::drop_reasons[i].name));
    }
    return names;
}

void Instance::hear_news() {
    dataplane::PathMtus path_mtus(state().path_mtus(), state().header().path_mtus_known);
    for (auto& worker : workers_) {
        while (const auto news = worker->news().path_mtus.pop()) {
            path_mtus.lower(news->address, news->mtu, Tick::at(clock.now()));
        }
    }
}

void Instance::settle() {
    clock.advance(Duration::seconds(2));
    for (int turn = 0; turn < 2000; ++turn) {
        clock.advance(Duration::milliseconds(10));  // what was handed over begins to wait only now
        std::uint32_t busy = 0;
        for (auto& worker : workers_) busy += worker->poll_once() + worker->waiting();
        for (auto& port : ports_) port->clear_output();
        if (busy == 0) return;
    }
    ADD_FAILURE() << "something still waits";
}

void Instance::expect_conservation() {
    settle();
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        const shm::WorkerBlock& w = state().workers()[i];
        EXPECT_EQ(w.received.read(), w.forwarded.read() + w.punted.read() + w.dropped.read());
        const DropCounts by_reason = drop_counts(i);
        EXPECT_EQ(w.dropped.read(), std::accumulate(by_reason.begin(), by_reason.end(), std::uint64_t{0}));
    }
    EXPECT_EQ(pool_.available(), pool_.size()) << "packet buffers leaked";
}

}  // namespace shunt::test
