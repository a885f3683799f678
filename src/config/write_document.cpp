#include "src/config/document.h"
#include "src/config/words.h"

namespace shunt::config {
namespace {

// Puts keys into a table: all of them, or only those worth a line in a file.
class Writer {
  public:
    explicit Writer(Form form) : form_(form) {}

    void put(const char* key, Tree value, bool worth_a_line = true) {
        if (worth_a_line || form_ == Form::complete) table_[key] = std::move(value);
    }
    Tree take() { return std::move(table_); }

  private:
    Tree table_ = Tree::object();
    Form form_;
};

template <class T, std::size_t N>
Tree word(const std::array<Word<T>, N>& words, T value) {
    return word_of<T>(words, value);
}

Tree text_or_null(const std::string& text) { return text.empty() ? Tree() : Tree(text); }

template <class T, class F>
Tree or_null(const std::optional<T>& value, F write) {
    return value ? Tree(write(*value)) : Tree();
}

template <class T>
Tree number_or_null(const std::optional<T>& value) {
    return or_null(value, [](T number) { return number; });
}

Tree mac_or_null(const std::optional<MacAddress>& mac) {
    return or_null(mac, [](const MacAddress& value) { return value.text(); });
}

template <class T>
Tree texts(const std::vector<T>& values) {
    Tree list = Tree::array();
    for (const T& value : values) list.push_back(value.text());
    return list;
}

template <class T, class F>
Tree tables(const std::vector<T>& values, F write) {
    Tree list = Tree::array();
    for (const T& value : values) list.push_back(write(value));
    return list;
}

Tree write_timeouts(const Timeouts& timeouts, Form form) {
    Writer writer(form);
    const auto put = [&writer](const char* key, const std::optional<Duration>& timeout) {
        writer.put(key, or_null(timeout, duration_text), timeout.has_value());
    };
    put("tcp_established", timeouts.tcp_established);
    put("tcp_syn", timeouts.tcp_syn);
    put("tcp_fin", timeouts.tcp_fin);
    put("udp", timeouts.udp);
    return writer.take();
}

Tree write_capture(const CapturePort& capture, Form form) {
    Writer writer(form);
    writer.put("in", text_or_null(capture.in), !capture.in.empty());
    writer.put("out", text_or_null(capture.out), !capture.out.empty());
    writer.put("punt", text_or_null(capture.punt), !capture.punt.empty());
    return writer.take();
}

Tree write_check(const Check& check, Form form) {
    Writer writer(form);
    const bool http = check.type == CheckType::http;
    Writer expect(form);
    expect.put("status", status_text(check.status));
    writer.put("type", word(check_words, check.type));
    writer.put("path", http ? Tree(check.path) : Tree(), http);
    writer.put("host", text_or_null(check.host), !check.host.empty());
    writer.put("expect", http ? expect.take() : Tree(), check.status != Check{}.status);
    writer.put("port", number_or_null(check.port), check.port.has_value());
    writer.put("interval", duration_text(check.interval));
    writer.put("timeout", duration_text(check.timeout));
    writer.put("rise", check.rise);
    writer.put("fall", check.fall);
    writer.put("via", "direct", false);
    return writer.take();
}

Tree write_mss(const Mss& mss) {
    if (mss.kind == Mss::Kind::fixed) return mss.value;
    return mss.kind == Mss::Kind::automatic ? "auto" : "off";
}

Tree write_tunnel(const Tunnel& tunnel, Form form) {
    Writer writer(form);
    writer.put("port", number_or_null(tunnel.port), tunnel.port.has_value());
    writer.put("vni", number_or_null(tunnel.vni), tunnel.vni.has_value());
    writer.put("key", number_or_null(tunnel.key), tunnel.key.has_value());
    writer.put("inner_mac", mac_or_null(tunnel.inner_mac), tunnel.inner_mac.has_value());
    return writer.take();
}

Tree write_quorum(const Quorum& quorum, Form form) {
    Writer writer(form);
    writer.put("up", quorum.up);
    writer.put("hysteresis", quorum.hysteresis, quorum.hysteresis != Quorum{}.hysteresis);
    return writer.take();
}

}  // namespace

Tree write_node(const Node& node, Form form) {
    Writer writer(form);
    writer.put("name", node.name);
    writer.put("hash_seed_file", text_or_null(node.hash_seed_file), !node.hash_seed_file.empty());
    writer.put("source", texts(node.source), !node.source.empty());
    return writer.take();
}

Tree write_port(const Port& port, Form form) {
    Writer writer(form);
    const auto* af_xdp = std::get_if<AfXdpPort>(&port.kind);
    const auto* vdev = std::get_if<VdevPort>(&port.kind);
    const auto* capture = std::get_if<CapturePort>(&port.kind);
    writer.put("name", port.name);
    writer.put("af_xdp", af_xdp ? Tree(af_xdp->device) : Tree(), af_xdp != nullptr);
    writer.put("xdp", af_xdp ? word(xdp_words, af_xdp->generic) : Tree(), af_xdp != nullptr && af_xdp->generic);
    writer.put("vdev", vdev ? Tree(vdev->arguments) : Tree(), vdev != nullptr);
    writer.put("pcap", capture ? write_capture(*capture, form) : Tree(), capture != nullptr);
    writer.put("queues", port.queues);
    writer.put("mac", mac_or_null(port.mac), port.mac.has_value());
    writer.put("virtual_mac", texts(port.virtual_mac), !port.virtual_mac.empty());
    writer.put("mtu", capture ? Tree(port.mtu) : Tree(), capture != nullptr && port.mtu != Port{}.mtu);
    return writer.take();
}

Tree write_dataplane(const Dataplane& dataplane, Form form) {
    Writer writer(form);
    const bool cores = !dataplane.cores.empty();
    writer.put("workers", dataplane.workers, !cores);
    writer.put("cores", cores ? Tree(cores_text(dataplane.cores)) : Tree(), cores);
    writer.put("idle", word(idle_words, dataplane.idle));
    writer.put("flows", dataplane.flows);
    writer.put("timeouts", write_timeouts(dataplane.timeouts, form), dataplane.timeouts != Dataplane{}.timeouts);
    writer.put("port", tables(dataplane.ports, [form](const Port& port) { return write_port(port, form); }),
               !dataplane.ports.empty());
    return writer.take();
}

Tree write_next_hop(const NextHop& hop, Form form) {
    Writer writer(form);
    writer.put("address", hop.address.text());
    writer.put("prefix", texts(hop.prefix), !hop.prefix.empty());
    writer.put("mac", hop.mac.text());
    writer.put("port", hop.port);
    writer.put("mtu", hop.mtu, hop.mtu != NextHop{}.mtu);
    writer.put("vlan", hop.vlan ? Tree(*hop.vlan) : Tree(), hop.vlan.has_value());
    return writer.take();
}

Tree write_api(const DesiredState& state, Form form) {
    Writer writer(form);
    writer.put("socket", text_or_null(state.api_socket), !state.api_socket.empty());
    return writer.take();
}

Tree write_announce(const DesiredState& state, Form form) {
    Writer writer(form);
    writer.put("device", text_or_null(state.announce_device), !state.announce_device.empty());
    return writer.take();
}

Tree write_http(const DesiredState& state, Form form) {
    Writer writer(form);
    const auto text = [](const AddressAndPort& listen) { return address_and_port(listen.address, listen.port); };
    writer.put("listen", or_null(state.http_listen, text), state.http_listen.has_value());
    return writer.take();
}

Tree write_ha(const DesiredState& state, Form form) {
    if (!state.ha) return {};
    Writer writer(form), files(form);
    const TrackFiles& named = state.ha->track_files;
    files.put("dataplane", text_or_null(named.dataplane), !named.dataplane.empty());
    files.put("controlplane", text_or_null(named.controlplane), !named.controlplane.empty());
    writer.put("track_files", files.take(), named != TrackFiles{});
    writer.put("hold", duration_text(state.ha->hold));
    return writer.take();
}

Tree write_sync(const DesiredState& state, Form form) {
    if (!state.sync) return {};
    Writer writer(form);
    const auto text = [](const AddressAndPort& at) { return address_and_port(at.address, at.port); };
    const Sync& sync = *state.sync;
    writer.put("group", sync.group, sync.group != Sync{}.group);
    writer.put("listen", text(sync.listen));
    writer.put("peers", tables(sync.peers, text), !sync.peers.empty());
    writer.put("key_file", sync.key_file);
    writer.put("flows", word(sync_words, sync.flows), sync.flows != Sync{}.flows);
    return writer.take();
}

Tree write_backend(const Backend& backend, Form form) {
    Writer writer(form);
    writer.put("address", backend.address.text());
    writer.put("port", backend.port != 0 ? Tree(backend.port) : Tree(), backend.port != 0);
    writer.put("weight", backend.weight);
    writer.put("state", word(state_words, backend.state), backend.state != BackendState::ready);
    return writer.take();
}

Tree write_service(const Service& service, Form form) {
    Writer writer(form);
    writer.put("name", service.name);
    writer.put("vip", texts(service.vips));
    writer.put("mode", word(mode_words, service.mode));
    writer.put("scheduler", word(scheduler_words, service.scheduler));
    const auto affinity_word = [](Affinity affinity) { return word(affinity_words, affinity); };
    writer.put("affinity", or_null(service.affinity, affinity_word), service.affinity.has_value());
    writer.put("load_factor", or_null(service.load_factor, [](std::uint16_t hundredths) { return hundredths / 100.0; }),
               service.load_factor.has_value());
    writer.put("table_size", number_or_null(service.table_size), service.table_size.has_value());
    writer.put("flows", on_off(service.flows), !service.flows);
    writer.put("direct_access", on_off(service.direct_access), service.direct_access);
    writer.put("mss", write_mss(service.mss), service.mss != Mss{});
    writer.put("dscp", number_or_null(service.dscp), service.dscp.has_value());
    writer.put("tunnel", write_tunnel(service.tunnel, form), service.tunnel != Tunnel{});
    writer.put("timeouts", write_timeouts(service.timeouts, form), service.timeouts != Timeouts{});
    writer.put("on_no_backend", word(no_backend_words, service.on_no_backend), false);
    writer.put("backends_from", "file", false);
    writer.put("quorum", write_quorum(service.quorum, form), service.quorum != Quorum{});
    writer.put("check", or_null(service.check, [form](const Check& check) { return write_check(check, form); }),
               service.check.has_value());
    writer.put("backend", tables(service.backends, [form](const Backend& b) { return write_backend(b, form); }),
               !service.backends.empty());
    return writer.take();
}

Tree write_state(const DesiredState& state, Form form) {
    Writer writer(form);
    writer.put("version", document_version);
    writer.put("node", write_node(state.node, form));
    writer.put("dataplane", write_dataplane(state.dataplane, form));
    writer.put("next_hop", tables(state.next_hops, [form](const NextHop& hop) { return write_next_hop(hop, form); }),
               !state.next_hops.empty());
    writer.put("service", tables(state.services, [form](const Service& s) { return write_service(s, form); }),
               !state.services.empty());
    writer.put("api", write_api(state, form), !state.api_socket.empty());
    writer.put("announce", write_announce(state, form), !state.announce_device.empty());
    writer.put("http", write_http(state, form), state.http_listen.has_value());
    writer.put("ha", write_ha(state, form), state.ha.has_value());
    writer.put("sync", write_sync(state, form), state.sync.has_value());
    return writer.take();
}

}  // namespace shunt::config
