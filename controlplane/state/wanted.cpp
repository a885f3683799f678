#include "controlplane/state/wanted.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "src/config/values.h"

namespace shunt::controlplane {
namespace {

using config::BackendState;

constexpr std::array<std::pair<BackendState, std::string_view>, 3> backend_states{{
    {BackendState::ready, "ready"},
    {BackendState::drain, "drain"},
    {BackendState::maint, "maint"},
}};

template <class Services>
auto* service_in(Services& services, std::string_view name) noexcept {
    const auto found = std::find_if(services.begin(), services.end(), [&](const auto& s) { return s.name == name; });
    return found == services.end() ? nullptr : &*found;
}

Error no_service(std::string_view name) {
    return {.message = "there is no service \"" + std::string(name) + "\"",
            .remedy = "`shunt service list` shows those there are",
            .key = "service." + std::string(name)};
}

config::Backend* backend_in(config::Service& service, std::string_view key) noexcept {
    const auto found = std::find_if(service.backends.begin(), service.backends.end(),
                                    [&](const config::Backend& b) { return b.key() == key; });
    return found == service.backends.end() ? nullptr : &*found;
}

// Whether this port means this backend: its own, or the VIP's if it has none.
bool serves(const config::Service& service, const config::Backend& backend, std::uint16_t port) {
    return backend.port == port ||
           (backend.port == 0 && std::any_of(service.vips.begin(), service.vips.end(),
                                             [&](const Vip& vip) { return vip.ports == Be16(port); }));
}

// For many look-ups: thousands of overrides of thousands of services.
class ServicesByName {
  public:
    explicit ServicesByName(std::vector<config::Service>& services) {
        for (config::Service& service : services) by_name_.emplace(service.name, &service);
    }
    config::Backend* backend(const Override& override) const {
        const auto service = by_name_.find(override.service);
        return service == by_name_.end() ? nullptr : backend_in(*service->second, override.backend);
    }

  private:
    std::unordered_map<std::string_view, config::Service*> by_name_{};
};

// Overrides of backends that are gone go with them.
void forget_orphans(Wanted& wanted) {
    if (wanted.overrides.empty()) return;
    const ServicesByName services(wanted.desired.services);
    std::erase_if(wanted.overrides, [&](const Override& override) {
        return override.kind != OverrideKind::node && services.backend(override) == nullptr;
    });
}

class Decision {
  public:
    Decision(const Wanted& before, Now now) : next_(before), now_(now) {}

    Result<Wanted> take() && { return std::move(next_); }

    Status operator()(const ApplyConfig& request) {
        next_.desired = request.desired;
        next_.origin = request.origin;
        if (request.file_hash) next_.file_hash = *request.file_hash;
        forget_orphans(next_);
        return Done{};
    }

    Status operator()(const PutService& request) {
        edited();
        if (auto* service = service_in(next_.desired.services, request.service.name)) {
            *service = request.service;
        } else {
            next_.desired.services.push_back(request.service);
        }
        forget_orphans(next_);
        return Done{};
    }

    Status operator()(const DeleteService& request) {
        edited();
        if (std::erase_if(next_.desired.services, [&](const auto& s) { return s.name == request.service; }) == 0) {
            return no_service(request.service);
        }
        forget_orphans(next_);
        return Done{};
    }

    Status operator()(const PutBackend& request) {
        edited();
        auto* service = service_in(next_.desired.services, request.service);
        if (service == nullptr) return no_service(request.service);
        if (auto* backend = backend_in(*service, request.backend.key())) {
            *backend = request.backend;
        } else {
            service->backends.push_back(request.backend);
        }
        return Done{};
    }

    Status operator()(const DeleteBackend& request) {
        edited();
        auto* service = service_in(next_.desired.services, request.service);
        if (service == nullptr) return no_service(request.service);
        const auto backend = find_backend(*service, request.backend);
        if (!backend) return backend.error();
        std::erase_if(service->backends, [key = (*backend)->key()](const auto& b) { return b.key() == key; });
        forget_orphans(next_);
        return Done{};
    }

    Status operator()(const SetOverride& request) {
        Override added = request.wanted;
        const auto configured = added.kind == OverrideKind::node ? of_node(added) : of_backend(added);
        if (!configured) return configured.error();
        const bool ready = added.kind != OverrideKind::weight && added.state == BackendState::ready;
        const auto before = std::find_if(next_.overrides.begin(), next_.overrides.end(),
                                         [id = added.id()](const Override& old) { return old.id() == id; });
        if (before != next_.overrides.end() && !ready) {
            if (request.keep_reason) added.reason = before->reason;
            if (request.keep_end) added.expires = before->expires;
            if (added.value() == before->value() && added.reason == before->reason &&
                added.expires == before->expires) {
                return Done{};  // it is so already, and was before
            }
        }
        std::erase_if(next_.overrides, [&](const Override& old) {
            return old.service == added.service && old.backend == added.backend && (ready || old.kind == added.kind);
        });
        if (!(ready && *configured == BackendState::ready)) insert(std::move(added));
        return Done{};
    }

    Status operator()(const ClearOverride& request) {
        const auto removed = std::erase_if(next_.overrides, [&](const Override& override) {
            return request.id == "all" || override.id() == request.id;
        });
        if (removed != 0 || request.id == "all") return Done{};
        return Error{.message = "there is no override \"" + request.id + "\"",
                     .remedy = "`shunt override list` shows those there are"};
    }

    Status operator()(const ExpireOverrides&) {
        std::erase_if(next_.overrides,
                      [&](const Override& override) { return override.expires && *override.expires <= now_.instant; });
        return Done{};
    }

  private:
    void edited() { next_.origin = Origin::api; }
    // What the configuration says of what is overridden; the backend is called by its key from now on.
    Result<BackendState> of_backend(Override& added) const {
        const auto* service = find_service(next_.desired, added.service);
        if (service == nullptr) return no_service(added.service);
        const auto backend = find_backend(*service, added.backend);
        if (!backend) return backend.error();
        added.backend = (*backend)->key();
        return (*backend)->state;
    }
    Result<BackendState> of_node(const Override& added) const {
        const bool heard = !next_.desired.announce_device.empty() || next_.desired.ha.has_value();
        if (heard || added.state == BackendState::ready) return BackendState::ready;
        return Error{.message = "nothing would tell anybody to send this node's traffic elsewhere",
                     .remedy = "configure [announce] or [ha] first"};
    }
    void insert(Override added) {
        const auto place = std::upper_bound(next_.overrides.begin(), next_.overrides.end(), added,
                                            [](const Override& a, const Override& b) { return a.id() < b.id(); });
        next_.overrides.insert(place, std::move(added));
    }

    Wanted next_;
    Now now_;
};

}  // namespace

std::string_view to_string(BackendState state) noexcept {
    for (const auto& [value, text] : backend_states) {
        if (value == state) return text;
    }
    return "?";
}

std::optional<BackendState> parse_backend_state(std::string_view text) noexcept {
    for (const auto& [value, name] : backend_states) {
        if (name == text) return value;
    }
    return std::nullopt;
}

std::string_view to_string(Origin origin) noexcept { return origin == Origin::file ? "file" : "api"; }

std::uint64_t text_hash(std::string_view text) noexcept { return XXH64(text.data(), text.size(), 0); }

std::string Override::id() const {
    if (kind == OverrideKind::node) return "node";
    return service + "/" + backend + (kind == OverrideKind::state ? "/state" : "/weight");
}

std::string Override::value() const {
    return kind != OverrideKind::weight ? std::string(to_string(state)) : "weight " + std::to_string(weight);
}

std::string Override::text(Instant now) const {
    std::string all = value();
    if (!reason.empty()) all += " (" + reason + ")";
    if (!expires) return all;
    const Duration left = *expires - now;
    constexpr std::int64_t second = 1'000'000'000;
    // Whole seconds, where that is true enough.
    const Duration shown = left.nanoseconds >= second ? Duration{(left.nanoseconds + second / 2) / second * second}
                                                      : Duration::milliseconds(left.in_milliseconds());
    return all + " for " + config::duration_text(shown);
}

const config::Service* find_service(const config::DesiredState& state, std::string_view name) noexcept {
    return service_in(state.services, name);
}

std::string name_of_service(const config::DesiredState& state, std::string_view name) {
    const auto vip = Vip::parse(name);
    for (const config::Service& service : state.services) {
        if (vip && std::find(service.vips.begin(), service.vips.end(), *vip) != service.vips.end()) return service.name;
    }
    return std::string(name);
}

Result<const config::Backend*> find_backend(const config::Service& service, std::string_view name) {
    const config::Backend* found = nullptr;
    std::string several;
    const auto address = IpAddress::parse(name);
    const auto with_port = parse_address_and_port(name);
    for (const auto& backend : service.backends) {
        if (with_port && backend.address == with_port->address && serves(service, backend, with_port->port))
            return &backend;
        if (!address || backend.address != *address) continue;
        several += (several.empty() ? "" : ", ") + backend.key();
        if (found != nullptr) continue;
        found = &backend;
    }
    if (found != nullptr && several == found->key()) return found;
    const std::string place = "service." + service.name + ".backend";
    if (found != nullptr) {
        return Error{.message = "several backends of \"" + service.name + "\" have the address " + std::string(name),
                     .remedy = "say which: " + several,
                     .key = place};
    }
    return Error{.message = "service \"" + service.name + "\" has no backend \"" + std::string(name) + "\"",
                 .remedy = "`shunt backend list " + service.name + "` shows those it has",
                 .key = place};
}

bool is_drained(const Wanted& wanted) noexcept {
    return std::any_of(wanted.overrides.begin(), wanted.overrides.end(),
                       [](const Override& override) { return override.kind == OverrideKind::node; });
}

config::DesiredState effective(const Wanted& wanted) {
    config::DesiredState state = wanted.desired;
    if (wanted.overrides.empty()) return state;
    const ServicesByName services(state.services);
    for (const auto& override : wanted.overrides) {
        auto* backend = services.backend(override);
        if (backend == nullptr) continue;
        if (override.kind == OverrideKind::state) {
            backend->state = override.state;
        } else {
            backend->weight = override.weight;
        }
    }
    return state;
}

Result<Wanted> decide(const Wanted& wanted, const Request& request, Now now) {
    Decision decision(wanted, now);
    if (const Status decided = std::visit(decision, request); !decided) return decided.error();
    return std::move(decision).take();
}

}  // namespace shunt::controlplane
