#include "controlplane/network/guard.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>
#include <utility>

#include "controlplane/network/nft.h"

namespace shunt::controlplane {
namespace {

constexpr std::size_t elements_per_statement = 1000;

using Elements = std::vector<std::string>;

template <class T>
void sort_unique(std::vector<T>& items) {
    std::sort(items.begin(), items.end());
    items.erase(std::unique(items.begin(), items.end()), items.end());
}

GuardRules normalised(GuardRules rules) {
    sort_unique(rules.listeners);
    sort_unique(rules.nat_backends);
    sort_unique(rules.interfaces);
    return rules;
}

// Sets of single ports are hash tables, and so are those of whole addresses; only ranges need a search.
enum class Kind : std::uint8_t { port, range, whole };

Kind kind_of(const PortRange& ports) {
    if (ports.is_all()) return Kind::whole;
    return ports.is_one() ? Kind::port : Kind::range;
}

Elements elements_of(const std::vector<Vip>& all, Family family, Kind kind) {
    Elements elements;
    for (const Vip& v : all) {
        if (v.address.family() != family || kind_of(v.ports) != kind) continue;
        elements.push_back(v.address.text() + " . " + std::string(to_string(v.protocol)) +
                           (kind == Kind::whole ? "" : " . " + v.ports.text()));
    }
    return elements;
}

Elements elements_of(const std::vector<std::string>& interfaces) {
    Elements elements;
    for (const std::string& name : interfaces) elements.push_back("\"" + name + "\"");
    return elements;
}

// The table's sets by name; the rules in `chains` refer to them.
struct Set {
    std::string_view name;
    std::string_view type;
    Elements elements;
};
std::array<Set, 11> sets_of(const GuardRules& rules) {
    constexpr std::string_view port4 = "ipv4_addr . inet_proto . inet_service;";
    constexpr std::string_view port6 = "ipv6_addr . inet_proto . inet_service;";
    constexpr std::string_view range4 = "ipv4_addr . inet_proto . inet_service; flags interval;";
    constexpr std::string_view range6 = "ipv6_addr . inet_proto . inet_service; flags interval;";
    constexpr std::string_view whole4 = "ipv4_addr . inet_proto;";
    constexpr std::string_view whole6 = "ipv6_addr . inet_proto;";
    const std::vector<Vip>&vips = rules.listeners, &backends = rules.nat_backends;
    return {{{"listeners4", port4, elements_of(vips, Family::ipv4, Kind::port)},
             {"listeners6", port6, elements_of(vips, Family::ipv6, Kind::port)},
             {"ranges4", range4, elements_of(vips, Family::ipv4, Kind::range)},
             {"ranges6", range6, elements_of(vips, Family::ipv6, Kind::range)},
             {"whole4", whole4, elements_of(vips, Family::ipv4, Kind::whole)},
             {"whole6", whole6, elements_of(vips, Family::ipv6, Kind::whole)},
             {"backends4", port4, elements_of(backends, Family::ipv4, Kind::port)},
             {"backends6", port6, elements_of(backends, Family::ipv6, Kind::port)},
             {"whole_backends4", whole4, elements_of(backends, Family::ipv4, Kind::whole)},
             {"whole_backends6", whole6, elements_of(backends, Family::ipv6, Kind::whole)},
             {"ports", "ifname;", elements_of(rules.interfaces)}}};
}

// Before the usual firewall (priority 0), so that its counters do not show what is none of its business.
constexpr std::string_view chains = R"(
    chain input {
        type filter hook input priority -10; policy accept;
        ip daddr . meta l4proto . th dport @listeners4 counter drop
        ip6 daddr . meta l4proto . th dport @listeners6 counter drop
        ip daddr . meta l4proto . th dport @ranges4 counter drop
        ip6 daddr . meta l4proto . th dport @ranges6 counter drop
        ip daddr . meta l4proto @whole4 counter drop
        ip6 daddr . meta l4proto @whole6 counter drop
    }
    chain forward {
        type filter hook forward priority -10; policy accept;
        iifname @ports ip saddr . meta l4proto . th sport @backends4 counter drop
        iifname @ports ip6 saddr . meta l4proto . th sport @backends6 counter drop
        iifname @ports ip saddr . meta l4proto @whole_backends4 counter drop
        iifname @ports ip6 saddr . meta l4proto @whole_backends6 counter drop
    }
}
)";

// One element to a line: nft quotes the whole line it complains about.
std::string element_statements(std::string_view verb, std::string_view table, const Set& set,
                               const Elements& elements) {
    std::string text;
    for (std::size_t i = 0; i < elements.size(); ++i) {
        if (i % elements_per_statement == 0) {
            text += std::string(verb) + " element inet " + std::string(table) + " " + std::string(set.name) + " {\n";
        }
        text += elements[i] + ",\n";
        if ((i + 1) % elements_per_statement == 0 || i + 1 == elements.size()) text += "}\n";
    }
    return text;
}

Elements minus(Elements a, Elements b) {
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    Elements result;
    std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(result));
    return result;
}

// The kernel's own rule for names (dev_valid_name), and nothing that would end a quoted string of nft.
bool is_interface_name(const std::string& name) {
    return !name.empty() && name.size() <= 15 && name != "." && name != ".." &&
           std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 127; }) &&
           name.find_first_of("/:\"\\*") == std::string::npos;
}

}  // namespace

std::string guard_table_name(std::string_view instance) {
    std::string name = "shunt_";
    for (const char c : instance) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        std::array<char, 4> escaped{c};
        if (!plain) std::snprintf(escaped.data(), escaped.size(), "_%02x", static_cast<unsigned char>(c));
        name += escaped.data();
    }
    return name;
}

std::string guard_replace_script(std::string_view instance, GuardRules rules) {
    const std::string table = guard_table_name(instance);
    // Deleting what may not be there is an error; adding what may be there is none.
    std::string text = "add table inet " + table + "\ndelete table inet " + table + "\ntable inet " + table + " {\n";
    const auto sets = sets_of(normalised(std::move(rules)));
    for (const Set& set : sets) {
        text += "    set " + std::string(set.name) + " { type " + std::string(set.type) + " }\n";
    }
    text += chains.substr(1);
    for (const Set& set : sets) text += element_statements("add", table, set, set.elements);
    return text;
}

std::string guard_change_script(std::string_view instance, GuardRules from, GuardRules to) {
    const std::string table = guard_table_name(instance);
    const auto before = sets_of(normalised(std::move(from)));
    const auto after = sets_of(normalised(std::move(to)));
    std::string text;
    for (std::size_t i = 0; i < after.size(); ++i) {
        text += element_statements("delete", table, after[i], minus(before[i].elements, after[i].elements));
        text += element_statements("add", table, after[i], minus(after[i].elements, before[i].elements));
    }
    return text;
}

std::string guard_remove_script(std::string_view instance) {
    const std::string table = guard_table_name(instance);
    return "add table inet " + table + "\ndelete table inet " + table + "\n";
}

Guard::Guard(std::string instance) : instance_(std::move(instance)) {}

Status Guard::apply(GuardRules rules) {
    rules = normalised(std::move(rules));
    for (const std::string& name : rules.interfaces) {
        if (!is_interface_name(name)) return Error{"\"" + name + "\" cannot be the name of an interface"};
    }
    if (applied_ == rules) return Done{};
    const bool changed = applied_ && run_nft({"-f", "-"}, guard_change_script(instance_, *applied_, rules));
    if (!changed) {
        if (auto replaced = run_nft({"-f", "-"}, guard_replace_script(instance_, rules)); !replaced) {
            return replaced.error();
        }
    }
    applied_ = std::move(rules);
    return Done{};
}

Result<bool> Guard::present() {
    const auto listing = run_nft({"list", "chains", "inet"}, "");  // other listings read all elements of all sets first
    if (!listing) return listing.error();
    const std::size_t begin = ("\n" + *listing).find("\ntable inet " + guard_table_name(instance_) + " {\n");
    const std::string_view table =
        begin == std::string::npos ? ""
                                   : std::string_view(*listing).substr(begin, listing->find("\n}\n", begin) - begin);
    const bool found = table.find("chain input {") != table.npos && table.find("chain forward {") != table.npos;
    if (!found) applied_.reset();
    return found;
}

Status Guard::remove() {
    applied_.reset();
    if (auto removed = run_nft({"-f", "-"}, guard_remove_script(instance_)); !removed) return removed.error();
    return Done{};
}

}  // namespace shunt::controlplane
