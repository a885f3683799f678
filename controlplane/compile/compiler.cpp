#include "controlplane/compile/compiler.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace shunt::controlplane {
namespace {

// The first of each family.
std::array<IpAddress, 2> tunnel_source(const config::Node& node) {
    std::array<IpAddress, 2> sources{};
    for (const IpAddress& source : node.source) {
        IpAddress& of_family = sources[source.is_v4() ? 0 : 1];
        if (of_family.is_unspecified()) of_family = source;
    }
    return sources;
}

}  // namespace

struct Compiler::Changed {
    std::size_t position{};
    std::shared_ptr<const Compiled> after{};
    ServiceImage image{};
};

// A change that is settled: all numbers are taken, nothing can fail any more.
struct Compiler::Change {
    HashSeed site_seed{};
    std::array<IpAddress, 2> tunnel_source{};
    Instant now{};
    std::optional<NextHops> hops{};  // if they changed
    std::vector<Changed> services{};
    std::vector<ServiceNumbers> gone{};
    std::optional<std::vector<std::string>> order{};  // names of all services, if it changed
};

bool Compiler::Compiled::made_of(const config::Service& other, const config::Timeouts& general,
                                 std::span<const shm::Verdict> said) const {
    return service == other && timeouts == general &&
           std::equal(verdicts.begin(), verdicts.end(), said.begin(), said.end());
}

Compiler::Compiler(const shm::Tables& published) : ledger_(published) {
    for (ServiceNumbers& numbers : ledger_.services()) {
        const std::string name = numbers.name;
        services_[name] = std::make_shared<const Compiled>(Compiled{.numbers = std::move(numbers)});
    }
}

Result<const Image*> Compiler::compile(const Inputs& inputs) {
    if (auto prepared = prepare(inputs); !prepared) return prepared.error();
    return &commit();
}

Status Compiler::prepare(const Inputs& inputs) {
    cancel();
    auto change = std::make_shared<Change>();
    ledger_.book().begin();
    if (auto settled = settle(inputs, *change); !settled) {
        ledger_.book().undo();
        return settled.error();
    }
    prepared_ = std::move(change);
    return Done{};
}

void Compiler::cancel() {
    if (prepared_) ledger_.book().undo();
    prepared_.reset();
}

const Compiler::Compiled& Compiler::before(std::size_t position, const std::string& name) const {
    static const Compiled nothing{};
    if (position < order_.size() && order_[position]->service.name == name) return *order_[position];
    const auto found = services_.find(name);
    return found == services_.end() ? nothing : *found->second;
}

bool Compiler::has_order(const std::vector<config::Service>& services) const {
    return std::equal(services.begin(), services.end(), order_.begin(), order_.end(),
                      [](const auto& service, const auto& known) { return service.name == known->service.name; });
}

Result<std::vector<ServiceNumbers>> Compiler::gone(const std::vector<config::Service>& wanted) const {
    std::vector<ServiceNumbers> gone;
    if (has_order(wanted) && order_.size() == services_.size()) return gone;
    std::unordered_set<std::string_view> names;
    for (const config::Service& service : wanted) {
        if (names.insert(service.name).second) continue;
        return Error{.message = "there are two services \"" + service.name + "\"", .remedy = "rename one of them"};
    }
    for (const auto& [name, compiled] : services_) {
        if (!names.contains(name)) gone.push_back(compiled->numbers);
    }
    return gone;
}

Status Compiler::settle(const Inputs& inputs, Change& change) {
    const std::vector<config::Service>& services = inputs.state.services;
    Book& book = ledger_.book();
    change.site_seed = inputs.site_seed;
    change.tunnel_source = tunnel_source(inputs.state.node);
    change.now = inputs.now;
    auto gone_services = gone(services);
    if (!gone_services) return gone_services.error();
    change.gone = *std::move(gone_services);
    if (!has_order(services)) {
        change.order.emplace();
        for (const config::Service& service : services) change.order->push_back(service.name);
    }
    if (!hops_ || !hops_->made_of(inputs.network, inputs.state)) {
        auto hops = NextHops::make(inputs.network, inputs.state, book, inputs.now);
        if (!hops) return hops.error();
        change.hops = *std::move(hops);
    }
    const NextHops& hops = change.hops ? *change.hops : *hops_;
    const config::Timeouts& timeouts = inputs.state.dataplane.timeouts;
    for (std::size_t s = 0; s < services.size(); ++s) {
        const config::Service& service = services[s];
        const Compiled& old = before(s, service.name);
        std::span<const shm::Verdict> verdicts;
        if (service.check && s < inputs.verdicts.size()) verdicts = inputs.verdicts[s];
        if (!change.hops && old.made_of(service, timeouts, verdicts)) continue;

        auto image = make_service_image({service, timeouts, verdicts, old.tables}, hops, book, inputs.now);
        if (!image) return image.error();
        Compiled after{service, timeouts, {verdicts.begin(), verdicts.end()}, image->numbers, image->tables};
        change.services.push_back({s, std::make_shared<const Compiled>(std::move(after)), *std::move(image)});
    }
    return Done{};
}

const Image& Compiler::commit() {
    if (!prepared_) return ledger_.image();
    Change& change = *prepared_;
    ledger_.image().site_seed = change.site_seed;
    ledger_.image().tunnel_source = change.tunnel_source;
    for (const ServiceNumbers& gone : change.gone) {
        ledger_.take_out(gone, {}, change.now);
        services_.erase(gone.name);
    }
    for (const Changed& changed : change.services) {
        const auto old = services_.find(changed.after->service.name);
        if (old != services_.end()) ledger_.take_out(old->second->numbers, changed.image.numbers, change.now);
    }
    if (change.order) order_.resize(change.order->size());
    for (const Changed& changed : change.services) {
        ledger_.put_in(changed.image);
        services_[changed.after->service.name] = changed.after;
        order_[changed.position] = changed.after;
    }
    for (std::size_t s = 0; change.order && s < order_.size(); ++s) order_[s] = services_.at((*change.order)[s]);
    if (change.hops) {
        ledger_.set_routes(*change.hops);
        hops_ = std::move(change.hops);
    }
    ledger_.finish(*hops_, change.now);
    prepared_.reset();
    return ledger_.image();
}

}  // namespace shunt::controlplane
