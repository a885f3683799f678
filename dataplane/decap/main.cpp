// shunt-decap: on a backend, undoes what the balancer did to a packet. Puts its program on an interface, and ends.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/decap/decap.h"

namespace {

using shunt::Error;
using shunt::ForwardingMode;
using shunt::Prefix;
using shunt::Result;
using shunt::Status;
using namespace shunt::dataplane;

constexpr int succeeded = 0, refused = 1, misused = 2;

struct Options {
    std::string device;
    std::string mode;
    std::vector<std::string> sources;
    std::vector<std::string> vips;
    std::uint16_t port{};
    bool detach{};
    bool show{};
};

std::string list_of(const std::vector<std::string>& words) {
    std::string text;
    for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
    return text;
}

std::string undone_modes() {
    std::vector<std::string> names;
    for (const auto& traits : shunt::forwarding_modes) {
        if (decap::can_undo(traits.mode)) names.emplace_back(traits.name);
    }
    return list_of(names);
}

Result<ForwardingMode> read_mode(const std::string& name) {
    if (name.empty()) return Error{.message = "what is to be done: --mode with --source, --show, or --detach?"};
    const auto mode = shunt::parse_forwarding_mode(name);
    if (mode && decap::can_undo(*mode)) return *mode;
    Error error{.message = "--mode " + name + " is nothing that shunt-decap undoes",
                .remedy = "it undoes " + undone_modes()};
    if (mode && shunt::traits_of(*mode).needs_inner_frame) {
        error.remedy = "the kernel does that: ip link add NAME type " + name + " id VNI dstport PORT";
    } else if (mode) {
        error.remedy = "such packets need no undoing on a backend";
    }
    return error;
}

Result<Prefix> read_source(const std::string& text) {
    if (const auto address = shunt::IpAddress::parse(text)) {
        return Prefix{*address, static_cast<std::uint8_t>(address->is_v4() ? 32 : 128)};
    }
    if (const auto prefix = Prefix::parse(text)) return *prefix;
    return Error{.message = "--source " + text + " is neither an address nor a prefix"};
}

Result<decap::MarkedVip> read_vip(const std::string& text) {
    const std::size_t equals = text.find('=');
    const std::string number = text.substr(0, equals);
    const auto vip = shunt::IpAddress::parse(equals == text.npos ? "" : text.substr(equals + 1));
    const bool is_number = !number.empty() && number.size() <= 2 && std::all_of(number.begin(), number.end(), isdigit);
    const int dscp = is_number ? std::stoi(number) : 0;
    if (vip && dscp >= 1 && dscp <= 63) return decap::MarkedVip{static_cast<std::uint8_t>(dscp), *vip};
    return Error{.message = "--dscp " + text + " does not say N=VIP, with N from 1 to 63",
                 .remedy = "as in --dscp 10=198.18.0.10"};
}

bool contradicts(const decap::MarkedVip& a, const decap::MarkedVip& b) {
    return a.dscp == b.dscp && a.vip.family() == b.vip.family() && a.vip != b.vip;
}

// What must hold between the options of one mode.
Status check(const Options& options, const decap::Settings& settings) {
    const auto& traits = shunt::traits_of(settings.mode);
    const std::string mode = "--mode " + options.mode;
    if (settings.sources.empty()) {
        return Error{.message = mode + " needs --source: undone is only what comes from there",
                     .remedy = traits.needs_dscp
                                   ? "name the clients' networks, 0.0.0.0/0 and ::/0 for all"
                                   : "name the balancers' addresses, [node] source of their configuration"};
    }
    if (traits.needs_dscp && settings.vips.empty()) return Error{.message = mode + " needs --dscp N=VIP"};
    if (!traits.needs_dscp && !settings.vips.empty()) return Error{.message = mode + " has no use for --dscp"};
    if (traits.tunnel_port == 0 && options.port != 0) return Error{.message = mode + " has no use for --port"};
    for (const auto& vip : settings.vips) {
        const auto other = [&vip](const decap::MarkedVip& one) { return contradicts(one, vip); };
        if (std::none_of(settings.vips.begin(), settings.vips.end(), other)) continue;
        return Error{.message = "--dscp " + std::to_string(vip.dscp) + " names two VIPs of one family"};
    }
    return shunt::Done{};
}

Result<decap::Settings> read_settings(const Options& options) {
    const auto mode = read_mode(options.mode);
    if (!mode) return mode.error();
    decap::Settings settings{.mode = *mode};
    settings.port = options.port != 0 ? options.port : shunt::traits_of(*mode).tunnel_port;
    for (const auto& text : options.sources) {
        const auto source = read_source(text);
        if (!source) return source.error();
        settings.sources.push_back(*source);
    }
    for (const auto& text : options.vips) {
        const auto vip = read_vip(text);
        if (!vip) return vip.error();
        settings.vips.push_back(*vip);
    }
    if (const auto done = check(options, settings); !done) return done.error();
    return settings;
}

int fail(const Error& error, int code) {
    std::cerr << "shunt-decap: " << error.text() << '\n';
    return code;
}

const char* text_of(xdp::Mode mode) { return mode == xdp::Mode::native ? "native XDP" : "generic XDP"; }

int place(const Options& options, const xdp::Interface& interface, const decap::Settings& settings) {
    const auto placed = decap::place(interface, settings);
    if (!placed) return fail(placed.error(), refused);
    std::cout << interface.name << ": " << options.mode << " from " << list_of(options.sources) << " is undone in "
              << text_of(placed->mode) << (placed->replaced ? ", in the place of what was undone before" : "")
              << "; until shunt-decap --device " << interface.name << " --detach\n";
    if (!placed->native_refused.empty()) {
        std::cout << interface.name
                  << ": generic XDP is slower; the driver refuses native XDP: " << placed->native_refused << '\n';
    }
    return succeeded;
}

int remove(const xdp::Interface& interface) {
    const auto removed = decap::remove(interface);
    if (!removed) return fail(removed.error(), refused);
    std::cout << interface.name << (*removed ? ": nothing is undone any more\n" : ": nothing was undone here\n");
    return succeeded;
}

int show(const xdp::Interface& interface) {
    const auto report = decap::report(interface);
    if (!report) return fail(report.error(), refused);
    if (!*report) return fail({.message = interface.name + ": nothing is undone here"}, refused);
    std::cout << interface.name << ": " << text_of((*report)->mode) << ", " << (*report)->undone << " packets undone, "
              << (*report)->congested << " dropped: marked as congested, and nobody to tell\n";
    return succeeded;
}

int run(const Options& options) {
    const bool places = !options.detach && !options.show;
    const auto settings = places ? read_settings(options) : decap::Settings{};
    if (!settings) return fail(settings.error(), misused);
    const auto interface = xdp::find_interface(options.device);
    if (!interface) return fail(interface.error(), refused);
    if (options.detach) return remove(*interface);
    return options.show ? show(*interface) : place(options, *interface, *settings);
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app{"On a backend of Shunt: undoes what the balancer did to packets, before the kernel sees them."};
    app.add_option("--device", options.device, "Interface at which they arrive")->required()->type_name("NAME");
    auto* mode = app.add_option("--mode", options.mode, "Mode of the service: " + undone_modes())->type_name("MODE");
    auto* sources = app.add_option("--source", options.sources,
                                   "Where they come from: the balancers' sources; where "
                                   "they keep the client's: the clients' networks")
                        ->type_name("ADDR[/LEN]");
    auto* vips =
        app.add_option("--dscp", options.vips, "The VIP that packets of this DSCP are for")->type_name("N=VIP");
    auto* port = app.add_option("--port", options.port, "UDP port, if the service sets another than the usual one")
                     ->check(CLI::Range(1, 65535));
    auto* detach = app.add_flag("--detach", options.detach, "Undo nothing any more");
    auto* show = app.add_flag("--show", options.show, "Say how many packets were undone");
    for (auto* alone : {detach, show}) {
        for (auto* other : {mode, sources, vips, port}) alone->excludes(other);
    }
    detach->excludes(show);
    app.set_version_flag("--version", std::string("shunt-decap ") + SHUNT_VERSION);
    app.footer(
        "Exit code 0: done; 1: refused, or it failed; 2: misused. It ends at once, and what it put in place stays.");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? succeeded : misused;
    }
    return run(options);
}
