#include "controlplane/compile/service_image.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace shunt::controlplane {
namespace {

constexpr std::array families{Family::ipv4, Family::ipv6};

Error no_room(const std::string& what, std::uint32_t limit) {
    return {.message = "no room for another " + what + ": " + std::to_string(limit - 1) +
                       " are in use, or rest until " + "flows that knew them have died",
            .remedy = "remove services or backends, or wait for a week after removing many"};
}

shm::FlowTimeouts flow_timeouts(const config::Timeouts& own, const config::Timeouts& general) {
    const config::Timeouts defaults = config::Dataplane{}.timeouts;
    const auto ticks = [&](std::optional<Duration> config::Timeouts::*which) {
        return to_ticks((own.*which).value_or((general.*which).value_or(*(defaults.*which))));
    };
    return {{ticks(&config::Timeouts::tcp_syn), ticks(&config::Timeouts::tcp_established),
             ticks(&config::Timeouts::tcp_fin), ticks(&config::Timeouts::udp)}};
}

// A backend's endpoint on the wire, as a VIP reaches it.
Endpoint wire_endpoint(const config::Backend& backend, const Vip& vip) {
    return {backend.address, backend.port == 0 ? port_to_follow(vip.ports) : Be16(backend.port), vip.protocol};
}

shm::ModeSettings mode_settings(const config::Service& service) {
    const ForwardingModeTraits& mode = traits_of(service.mode);
    const config::Tunnel& tunnel = service.tunnel;
    shm::ModeSettings settings{};
    settings.key = Be32(mode.takes_key ? tunnel.key.value_or(0) : tunnel.vni.value_or(0));
    settings.tunnel_port = Be16(tunnel.port.value_or(mode.tunnel_port));
    settings.inner_mac = tunnel.inner_mac.value_or(MacAddress{});
    settings.dscp = service.dscp.value_or(0);
    if (tunnel.key) settings.flags |= shm::ModeSettings::has_key;
    settings.mss = service.mss.kind == config::Mss::Kind::automatic ? shm::mss_auto
                   : service.mss.kind == config::Mss::Kind::off     ? shm::mss_off
                                                                    : service.mss.value;
    return settings;
}

class Maker {
  public:
    Maker(const ServiceInputs& inputs, const NextHops& hops, Book& book, Instant now)
        : in_(inputs), service_(inputs.service), hops_(hops), book_(book), now_(now) {}

    Result<ServiceImage> make() {
        if (auto named = take_service(); !named) return named.error();
        admissions_ = admit(service_, in_.verdicts, past());
        for (const Vip& vip : service_.vips) {
            if (auto added = add_handles(vip); !added) return added.error();
        }
        for (std::size_t f = 0; f < families.size(); ++f) {
            if (auto made = add_table(f); !made) return made.error();
        }
        for (const Vip& vip : service_.vips) {
            if (auto added = add_listener(vip); !added) return added.error();
        }
        return std::move(image_);
    }

  private:
    Status take_service() {
        shm::ServiceRecord& record = image_.record;
        if (service_.name.empty() || service_.name.size() > record.name.size()) {
            return Error{.message = "service \"" + service_.name + "\": a name has 1 to " +
                                    std::to_string(record.name.size()) + " characters",
                         .remedy = "choose another name"};
        }
        known_ = book_.services.find(service_.name) != 0;
        const std::uint32_t index = book_.services.take(service_.name, now_);
        if (index == 0) return no_room("service", shm::max_services);
        image_.numbers.name = service_.name;
        image_.numbers.index = ServiceIndex(static_cast<std::uint16_t>(index));
        service_.name.copy(record.name.data(), record.name.size());
        record.mode = service_.mode;
        record.scheduler = service_.scheduler;
        return Done{};
    }

    // Before any handle is taken.
    std::vector<Past> past() const {
        std::vector<Past> past(service_.backends.size(), Past::unknown);
        for (std::size_t b = 0; known_ && b < past.size(); ++b) {
            for (const Vip& vip : service_.vips) {
                if (!in_reach(b, vip)) continue;
                const std::uint32_t handle = book_.handles.find(handle_key(b, vip));
                if (handle != 0) past[b] = book_.is_awaited(handle) ? Past::awaited : Past::in;
            }
        }
        return past;
    }

    // Where both families have the same backends they share one table.
    Status add_table(std::size_t f) {
        const auto is_of_it = [&](const Vip& vip) { return vip.address.family() == families[f]; };
        if (std::none_of(service_.vips.begin(), service_.vips.end(), is_of_it)) return Done{};
        const FamilyTable& other = image_.tables[0];
        const bool shares = traits_of(service_.mode).encapsulates && other.slots;
        auto table = make_table(service_, families[f], admissions_, shares ? other : in_.before[f]);
        if (!table) return table.error();
        image_.record.table_size = table->table_size;
        image_.record.table_hash[f] = table->hash;
        image_.tables[f] = *std::move(table);
        return Done{};
    }

    bool in_reach(std::size_t b, const Vip& vip) const {
        return can_serve(service_.mode, vip.address.family(), service_.backends[b].address.family());
    }
    ServiceEndpoint handle_key(std::size_t b, const Vip& vip) const {
        return {image_.numbers.index, wire_endpoint(service_.backends[b], vip)};
    }

    Status add_handles(const Vip& vip) {
        for (std::size_t b = 0; b < service_.backends.size(); ++b) {
            if (!in_reach(b, vip)) continue;
            const ServiceEndpoint key = handle_key(b, vip);
            const std::uint32_t index = book_.handles.take(key, now_);
            if (index == 0) return no_room("backend", shm::max_handles);
            const auto [owner, is_new] = owners_.emplace(index, b);
            if (owner->second != b) {
                return Error{.message = "service \"" + service_.name + "\": backends " + service_.backends[b].key() +
                                        " and " + service_.backends[owner->second].key() + " are both " +
                                        key.endpoint.text(),
                             .remedy = "remove one of them",
                             .key = "service." + service_.name + ".backend"};
            }
            if (!is_new) continue;
            if (auto added = add_backend(b, key.endpoint, index); !added) return added;
        }
        return Done{};
    }

    Status add_backend(std::size_t b, const Endpoint& endpoint, std::uint32_t index) {
        const config::Backend& backend = service_.backends[b];
        shm::BackendRecord record{};
        record.address = endpoint.address;
        record.port = endpoint.port;
        record.protocol = endpoint.protocol;
        record.status = admissions_[b].status;
        record.incarnation = static_cast<std::uint16_t>(book_.handle(index).incarnation());
        record.service = image_.numbers.index;
        record.weight = static_cast<std::uint16_t>(backend.weight);
        record.configured_port = backend.port;
        record.verdict = static_cast<std::uint8_t>(admissions_[b].verdict);
        record.awaited = admissions_[b].awaited;
        if (traits_of(service_.mode).translates) {
            record.source = SourceNumber(book_.sources.take(endpoint, now_));
            if (!record.source) return no_room("backend endpoint", shm::max_sources);
        }
        const auto next_hop = hops_.to_backend(backend.address, book_, now_);
        if (!next_hop) return next_hop.error();
        record.next_hop = *next_hop;
        image_.backends.push_back(record);
        image_.numbers.handles.push_back(book_.handle(index));
        return Done{};
    }

    Status add_listener(const Vip& vip) {
        const std::uint32_t index = book_.listeners.take({image_.numbers.index, vip}, now_);
        if (index == 0) return no_room("listener", shm::max_listeners);
        image_.numbers.listeners.push_back(ListenerIndex(static_cast<std::uint16_t>(index)));

        const FamilyTable& table = image_.tables[vip.address.is_v4() ? 0 : 1];
        ListenerImage listener;
        shm::ListenerRecord& record = listener.record;
        record.address = vip.address;
        record.port = vip.ports.first;
        record.last_port = vip.ports.last;
        record.protocol = vip.protocol;
        record.mode = service_.mode;
        record.service = image_.numbers.index;
        if (service_.flows) record.flags |= shm::ListenerRecord::flows_on;
        if (service_.direct_access) record.flags |= shm::ListenerRecord::direct_access;
        if (!vip.ports.is_one()) record.flags |= shm::ListenerRecord::many_ports;
        record.in_use = 1;
        record.table_size = table.table_size;
        record.backends = static_cast<std::uint16_t>(table.backends.size());
        record.choice = traits_of(service_.scheduler).choice;
        record.affinity = service_.effective_affinity();
        if (record.choice == Choice::bounded) {
            record.load_factor = service_.load_factor.value_or(config::default_load_factor);
        }
        record.number_count = table.numbers ? static_cast<std::uint32_t>(table.numbers->size()) : 0;
        record.timeouts = flow_timeouts(service_.timeouts, in_.timeouts);
        record.mode_settings = mode_settings(service_);
        listener.slots = table.slots;
        listener.numbers = table.numbers;
        if (table.slots) listener.handles = handles_of(table, vip);
        image_.listeners.push_back(std::move(listener));
        return Done{};
    }

    SharedVector<shm::Handle> handles_of(const FamilyTable& table, const Vip& vip) const {
        std::vector<shm::Handle> handles;
        for (const std::uint32_t b : table.backends) {
            handles.push_back(book_.handle(book_.handles.find(handle_key(b, vip))));
        }
        return std::make_shared<const std::vector<shm::Handle>>(std::move(handles));
    }

    const ServiceInputs& in_;
    const config::Service& service_;
    const NextHops& hops_;
    Book& book_;
    Instant now_;
    bool known_{};  // the service is not new
    std::vector<Admission> admissions_{};
    std::unordered_map<std::uint32_t, std::size_t> owners_{};  // of handles: positions of backends
    ServiceImage image_{};
};

}  // namespace

Result<ServiceImage> make_service_image(const ServiceInputs& inputs, const NextHops& hops, Book& book, Instant now) {
    return Maker(inputs, hops, book, now).make();
}

bool leads_to(const shm::ListenerRecord& listener, const shm::BackendRecord& backend) noexcept {
    const bool same_port = backend.configured_port != 0 || backend.port == port_to_follow(listener.ports());
    return listener.service == backend.service && listener.protocol == backend.protocol && same_port &&
           can_serve(listener.mode, listener.address.family(), backend.address.family());
}

}  // namespace shunt::controlplane
