#include "controlplane/compile/compiler.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace shunt::controlplane {

struct Compiler::Changed {
    std::size_t position{};
    std::shared_ptr<const Compiled> after{};
    ServiceImage image{};
};

// A change that is settled: all numbers are taken, nothing can fail any more.
struct Compiler::Change {
    HashSeed site_seed{};
    std::optional<NextHops> hops{};  // if they changed
    std::vector<Changed> services{};
    std::vector<ServiceNumbers> gone{};
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
    ledger_.book().begin();
    auto change = settle(inputs);
    if (!change) {
        ledger_.book().undo();
        return change.error();
    }
    commit(*std::move(change), inputs);
    return &ledger_.image();
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

Result<Compiler::Change> Compiler::settle(const Inputs& inputs) {
    Change change{.site_seed = inputs.site_seed};
    Book& book = ledger_.book();
    auto gone_services = gone(inputs.state.services);
    if (!gone_services) return gone_services.error();
    change.gone = *std::move(gone_services);
    if (!hops_ || !hops_->made_of(inputs.network, inputs.state)) {
        auto hops = NextHops::make(inputs.network, inputs.state, book, inputs.now);
        if (!hops) return hops.error();
        change.hops = *std::move(hops);
    }
    const NextHops& hops = change.hops ? *change.hops : *hops_;
    const config::Timeouts& timeouts = inputs.state.dataplane.timeouts;
    for (std::size_t s = 0; s < inputs.state.services.size(); ++s) {
        const config::Service& service = inputs.state.services[s];
        const Compiled& old = before(s, service.name);
        std::span<const shm::Verdict> verdicts;
        if (service.check && s < inputs.verdicts.size()) verdicts = inputs.verdicts[s];
        if (!change.hops && old.made_of(service, timeouts, verdicts)) continue;

        auto image = make_service_image({service, timeouts, verdicts, old.tables}, hops, book, inputs.now);
        if (!image) return image.error();
        Compiled after{service, timeouts, {verdicts.begin(), verdicts.end()}, image->numbers, image->tables};
        change.services.push_back({s, std::make_shared<const Compiled>(std::move(after)), *std::move(image)});
    }
    return change;
}

void Compiler::commit(Change change, const Inputs& inputs) {
    ledger_.image().site_seed = change.site_seed;
    for (const ServiceNumbers& gone : change.gone) {
        ledger_.take_out(gone, {}, inputs.now);
        services_.erase(gone.name);
    }
    for (const Changed& changed : change.services) {
        const auto old = services_.find(changed.after->service.name);
        if (old != services_.end()) ledger_.take_out(old->second->numbers, changed.image.numbers, inputs.now);
    }
    for (const Changed& changed : change.services) {
        ledger_.put_in(changed.image);
        services_[changed.after->service.name] = changed.after;
    }
    if (change.hops) {
        ledger_.set_routes(*change.hops);
        hops_ = std::move(change.hops);
    }
    ledger_.finish(*hops_, inputs.now);
    remember_order(inputs.state.services, change);
}

void Compiler::remember_order(const std::vector<config::Service>& services, const Change& change) {
    if (has_order(services)) {
        for (const Changed& changed : change.services) order_[changed.position] = changed.after;
        return;
    }
    order_.clear();
    for (const config::Service& service : services) order_.push_back(services_.at(service.name));
}

}  // namespace shunt::controlplane
