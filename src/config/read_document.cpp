#include "src/balance/maglev.h"
#include "src/config/document.h"
#include "src/config/words.h"
#include "src/shm/limits.h"

namespace shunt::config {
namespace {

using Words = std::span<const std::string_view>;

template <class T, std::size_t N>
auto one_of(const std::array<Word<T>, N>& words, Words later = {}) {
    return [&words, later](const Json& value) { return as_word<T>(value, words, later); };
}

constexpr std::uint64_t most_flows = 1ULL << 30;
constexpr std::uint32_t most_quorum = 65'534;  // backends of one service
constexpr Duration shortest_timeout = Duration::seconds(1);
constexpr Duration longest_timeout = Duration::seconds(7 * 24 * 3600);
constexpr Duration shortest_check = Duration::milliseconds(10);
constexpr Duration longest_check = Duration::seconds(3600);

void read_node(TableReader& table, Node& node) {
    table.optional("name", node.name, as_name);
    table.optional("hash_seed_file", node.hash_seed_file, as_text);
    table.list("source", node.source, as_address);
    table.later({"nat_pool"});
}

void read_timeouts(TableReader& table, Timeouts& timeouts) {
    const auto timeout = lasting(shortest_timeout, longest_timeout);
    table.optional("tcp_established", timeouts.tcp_established, timeout);
    table.optional("tcp_syn", timeouts.tcp_syn, timeout);
    table.optional("tcp_fin", timeouts.tcp_fin, timeout);
    table.optional("udp", timeouts.udp, timeout);
}

void read_kind(TableReader& table, Port& port) {
    const int kinds = table.has("af_xdp") + table.has("vdev") + table.has("pcap") + table.has("pci");
    if (kinds > 1) {
        return table.refuse({.message = "it is of one kind only", .remedy = "keep one of af_xdp, vdev and pcap"});
    }
    if (kinds == 0) table.require("af_xdp");
    table.later({"pci", "exception"});
    AfXdpPort af_xdp;
    table.optional("af_xdp", af_xdp.device, as_device);
    table.optional("xdp", af_xdp.generic, one_of(xdp_words));
    VdevPort vdev;
    table.optional("vdev", vdev.arguments, as_text);
    CapturePort pcap;
    table.table("pcap", [&pcap](TableReader& files) {
        files.optional("in", pcap.in, as_text);
        files.optional("out", pcap.out, as_text);
        files.optional("punt", pcap.punt, as_text);
    });
    if (table.has("af_xdp")) port.kind = af_xdp;
    if (table.has("vdev")) port.kind = vdev;
    if (table.has("pcap")) port.kind = pcap;
}

void read_port(TableReader& table, Port& port) {
    table.required("name", port.name, as_name);
    read_kind(table, port);
    table.optional("queues", port.queues, between<std::uint16_t>(1, shm::max_workers));
    table.optional("mac", port.mac, as_mac);
    table.list("virtual_mac", port.virtual_mac, as_mac);
    table.optional("mtu", port.mtu, between<std::uint16_t>(576, 65535));
    const bool is_capture = std::holds_alternative<CapturePort>(port.kind);
    const Error of_the_device{.message = "this port has that of its device", .remedy = "remove it"};
    if (port.mac && !is_capture) table.refuse("mac", of_the_device);
    if (port.mtu != Port{}.mtu && !is_capture) table.refuse("mtu", of_the_device);
    if (table.has("xdp") && !std::holds_alternative<AfXdpPort>(port.kind)) {
        table.refuse("xdp", {.message = "only af_xdp ports have it", .remedy = "remove it"});
    }
}

void read_dataplane(TableReader& table, Dataplane& dataplane) {
    table.optional("cores", dataplane.cores, as_cores);
    if (table.has("cores")) dataplane.workers = static_cast<std::uint16_t>(dataplane.cores.size());
    table.optional("workers", dataplane.workers, between<std::uint16_t>(1, shm::max_workers));
    if (table.has("cores") && dataplane.workers != dataplane.cores.size()) {
        table.refuse("workers", {.message = std::to_string(dataplane.workers) + " workers on " +
                                            std::to_string(dataplane.cores.size()) + " cores",
                                 .remedy = "give either workers or cores"});
    }
    table.optional("idle", dataplane.idle, one_of(idle_words, later_idle));
    table.optional("flows", dataplane.flows, between<std::uint64_t>(1, most_flows));
    table.table("timeouts", [&dataplane](TableReader& below) { read_timeouts(below, dataplane.timeouts); });
    table.tables("port", dataplane.ports, read_port);
    for (Port& port : dataplane.ports) {
        if (port.queues == 0) port.queues = dataplane.workers;
    }
}

void read_next_hop(TableReader& table, NextHop& hop) {
    table.required("address", hop.address, as_address);
    table.list("prefix", hop.prefix, as_prefix);
    table.required("mac", hop.mac, as_mac);
    table.required("port", hop.port, as_name);
    table.optional("mtu", hop.mtu, between<std::uint16_t>(576, 65535));
    std::vector<std::uint16_t> tags;
    table.list("vlan", tags, between<std::uint16_t>(1, 4094));
    if (tags.size() > 2)
        table.refuse("vlan", {.message = "a frame has at most two tags", .remedy = "keep two of them"});
    if (table.has("vlan")) hop.vlan = std::move(tags);
}

// What belongs to HTTP may stand in a check of another type only as it is by default: type can then be changed alone.
void read_http(TableReader& table, Check& check) {
    table.optional("path", check.path, as_http_path);
    table.optional("host", check.host, as_http_host);
    table.table("expect", [&check](TableReader& expect) {
        expect.optional("status", check.status, as_status);
        expect.later({"body_regex"});
    });
    if (check.type == CheckType::http) return;
    const Error unused{.message = "a check of type \"tcp\" only connects",
                       .remedy = "use type = \"http\", or remove it"};
    if (check.path != Check{}.path) table.refuse("path", unused);
    if (check.host != Check{}.host) table.refuse("host", unused);
    if (check.status != Check{}.status) table.refuse("expect", unused);
}

void read_check(TableReader& table, Check& check) {
    table.optional("type", check.type, one_of(check_words, later_checks));
    read_http(table, check);
    table.optional("port", check.port, between<std::uint16_t>(1, 65535));
    table.optional("interval", check.interval, lasting(shortest_check, longest_check));
    table.optional("timeout", check.timeout, lasting(shortest_check, longest_check));
    table.optional("rise", check.rise, between<std::uint32_t>(1, 1000));
    table.optional("fall", check.fall, between<std::uint32_t>(1, 1000));
    Fixed via;
    table.optional("via", via, one_of(via_words, later_via));
    table.later({"query"});
}

void read_tunnel(TableReader& table, Tunnel& tunnel) {
    table.optional("port", tunnel.port, between<std::uint16_t>(1, 65535));
    table.optional("vni", tunnel.vni, between<std::uint32_t>(0, 0xffffff));
    table.optional("key", tunnel.key, between<std::uint32_t>(0, 0xffffffff));
    table.optional("inner_mac", tunnel.inner_mac, as_mac);
}

void read_quorum(TableReader& table, Quorum& quorum) {
    table.optional("up", quorum.up, between<std::uint32_t>(0, most_quorum));
    table.optional("hysteresis", quorum.hysteresis, between<std::uint32_t>(0, most_quorum));
}

void read_service_keys_of_later_versions(TableReader& table) {
    Fixed fixed;
    table.optional("backends_from", fixed, one_of(backends_from_words, later_backends_from));
    table.later({"sorry", "panic_threshold", "slow_start", "outlier"});
}

constexpr Duration shortest_hold = Duration::milliseconds(100);
constexpr Duration longest_hold = Duration::seconds(3600);

void read_ha(TableReader& table, Ha& ha) {
    table.table("track_files", [&ha](TableReader& files) {
        files.optional("dataplane", ha.track_files.dataplane, as_file);
        files.optional("controlplane", ha.track_files.controlplane, as_file);
    });
    table.optional("hold", ha.hold, lasting(shortest_hold, longest_hold));
}

void read_sync(TableReader& table, Sync& sync) {
    table.optional("group", sync.group, as_name);
    table.required("listen", sync.listen, as_listen);
    table.list("peers", sync.peers, as_listen);
    table.require("peers");
    table.required("key_file", sync.key_file, as_file);
    table.optional("flows", sync.flows, one_of(sync_words));
}

}  // namespace

void read_backend(TableReader& table, Backend& backend) {
    table.required("address", backend.address, as_address);
    table.optional("port", backend.port, between<std::uint16_t>(1, 65535));
    table.optional("weight", backend.weight, between<std::uint32_t>(0, max_weight));
    table.optional("state", backend.state, one_of(state_words));
}

void read_service(TableReader& table, Service& service) {
    table.required("name", service.name, as_name);
    table.list("vip", service.vips, as_vip);
    table.require("vip");
    table.optional("mode", service.mode, one_of(mode_words, later_modes));
    table.optional("scheduler", service.scheduler, one_of(scheduler_words));
    table.optional("affinity", service.affinity, one_of(affinity_words));
    table.optional("load_factor", service.load_factor, as_load_factor);
    table.optional("table_size", service.table_size, between<std::uint32_t>(2, shm::max_slots));
    table.optional("flows", service.flows, as_on_off);
    table.optional("direct_access", service.direct_access, as_on_off);
    table.optional("mss", service.mss, as_mss);
    table.optional("dscp", service.dscp, between<std::uint8_t>(1, 63));
    table.table("tunnel", [&service](TableReader& below) { read_tunnel(below, service.tunnel); });
    table.table("timeouts", [&service](TableReader& below) { read_timeouts(below, service.timeouts); });
    table.optional("on_no_backend", service.on_no_backend, one_of(no_backend_words, later_no_backend));
    table.table("quorum", [&service](TableReader& below) { read_quorum(below, service.quorum); });
    table.table("check", [&service](TableReader& below) { read_check(below, service.check.emplace()); });
    table.tables("backend", service.backends, read_backend);
    read_service_keys_of_later_versions(table);
}

void read_state(TableReader& table, DesiredState& state) {
    std::uint64_t version = 0;
    table.required("version", version, between<std::uint64_t>(document_version, document_version));
    table.table("node", [&state](TableReader& below) { read_node(below, state.node); });
    table.table("dataplane", [&state](TableReader& below) { read_dataplane(below, state.dataplane); });
    table.tables("next_hop", state.next_hops, read_next_hop);
    table.tables("service", state.services, read_service);
    table.table("api", [&state](TableReader& below) { below.optional("socket", state.api_socket, as_text); });
    table.table("http", [&state](TableReader& below) { below.optional("listen", state.http_listen, as_listen); });
    table.table("ha", [&state](TableReader& below) { read_ha(below, state.ha.emplace()); });
    table.table("sync", [&state](TableReader& below) { read_sync(below, state.sync.emplace()); });
    table.table("announce",
                [&state](TableReader& below) { below.optional("device", state.announce_device, as_device); });
}

}  // namespace shunt::config
