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

Elements elements_of(const std::vector<Endpoint>& endpoints, Family family) {
    Elements elements;
    for (const Endpoint& e : endpoints) {
        if (e.address.family() != family) continue;
        elements.push_back(e.address.text() + " . " + std::string(to_string(e.protocol)) + " . " +
                           std::to_string(e.port.host()));
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
std::array<Set, 5> sets_of(const GuardRules& rules) {
    return {{{"listeners4", "ipv4_addr . inet_proto . inet_service", elements_of(rules.listeners, Family::ipv4)},
             {"listeners6", "ipv6_addr . inet_proto . inet_service", elements_of(rules.listeners, Family::ipv6)},
             {"backends4", "ipv4_addr . inet_proto . inet_service", elements_of(rules.nat_backends, Family::ipv4)},
             {"backends6", "ipv6_addr . inet_proto . inet_service", elements_of(rules.nat_backends, Family::ipv6)},
             {"ports", "ifname", elements_of(rules.interfaces)}}};
}

// Before the usual firewall (priority 0), so that its counters do not show what is none of its business.
constexpr std::string_view chains = R"(
    chain input {
        type filter hook input priority -10; policy accept;
        ip daddr . meta l4proto . th dport @listeners4 counter drop
        ip6 daddr . meta l4proto . th dport @listeners6 counter drop
    }
    chain forward {
        type filter hook forward priority -10; policy accept;
        iifname @ports ip saddr . meta l4proto . th sport @backends4 counter drop
        iifname @ports ip6 saddr . meta l4proto . th sport @backends6 counter drop
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
        text += "    set " + std::string(set.name) + " { type " + std::string(set.type) + "; }\n";
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
