#include "src/config/changes.h"

#include <algorithm>
#include <unordered_map>

#include "src/config/document.h"

namespace shunt::config {
namespace {

class Comparison {
  public:
    std::vector<Change> take() { return std::move(changes_); }

    void add(std::string key, std::string after) { put({ChangeKind::add, std::move(key), "", std::move(after)}); }
    void remove(std::string key, std::string before) {
        put({ChangeKind::remove, std::move(key), std::move(before), ""});
    }

    // Two tables with the same keys, but those in `apart`.
    void tables(const std::string& key, const Tree& before, const Tree& after, std::string_view apart = {}) {
        for (const auto& [name, value] : after.items()) {
            if (name != apart) values(key + "." + name, before.at(name), value);
        }
    }

    void values(const std::string& key, const Tree& before, const Tree& after) {
        if (before == after) return;
        if (before.is_object() && after.is_object()) return tables(key, before, after);
        if (is_texts(before) && is_texts(after)) return texts(key, before, after);
        if (before.is_null()) return add(key, one_line(after));
        if (after.is_null()) return remove(key, one_line(before));
        put({ChangeKind::change, key, one_line(before), one_line(after)});
    }

    // What two lists have in common is compared, the rest is added or removed. `id` tells who is who, `brief` how a new
    // one is shown, `compare` what differs.
    template <class T, class Id, class Brief, class Compare>
    void lists(const std::string& key, const std::vector<T>& before, const std::vector<T>& after, Id id, Brief brief,
               Compare compare) {
        std::unordered_map<std::string, const T*> old;
        for (const T& element : before) old.emplace(id(element), &element);
        for (const T& element : after) {
            const auto found = old.find(id(element));
            if (found == old.end()) {
                brief(element);
                continue;
            }
            if (*found->second != element) compare(*found->second, element);
            old.erase(found);
        }
        for (const T& element : before) {
            if (const auto gone = old.find(id(element)); gone != old.end() && gone->second == &element) {
                remove(key, id(element));
            }
        }
    }

    // Two lists of the same texts.
    void order(const std::string& key, const Tree& before, const Tree& after) {
        if (before == after) return;
        std::vector<Tree> one(before.begin(), before.end()), other(after.begin(), after.end());
        std::ranges::sort(one);
        std::ranges::sort(other);
        if (one == other) {
            put({ChangeKind::change, key, one_line(before), one_line(after)});
        }
    }

  private:
    void put(Change change) { changes_.push_back(std::move(change)); }

    static bool is_texts(const Tree& value) {
        return value.is_array() && std::ranges::all_of(value, [](const Tree& element) { return element.is_string(); });
    }
    // Lists of texts: what came and what went.
    void texts(const std::string& key, const Tree& before, const Tree& after) {
        const auto missing_in = [](const Tree& list) {
            return [&list](const Tree& element) { return std::ranges::find(list, element) == list.end(); };
        };
        for (const Tree& element : after) {
            if (missing_in(before)(element)) add(key, element.get<std::string>());
        }
        for (const Tree& element : before) {
            if (missing_in(after)(element)) remove(key, element.get<std::string>());
        }
        order(key, before, after);
    }

    std::vector<Change> changes_{};
};

// The brief form of something without the key that names it.
template <class T>
std::string rest_of(T tree, const char* name) {
    tree.erase(name);
    return one_line(tree);
}

void compare_backends(Comparison& comparison, const std::string& key, const Service& before, const Service& after) {
    const auto add = [&](const Backend& b) {
        const bool ready = b.state == BackendState::ready;
        const std::string state = ready ? "" : " state " + write_backend(b, Form::brief)["state"].get<std::string>();
        comparison.add(key, label(b) + " weight " + std::to_string(b.weight) + state);
    };
    const auto compare = [&](const Backend& old, const Backend& now) {
        comparison.tables(key + "." + label(now), write_backend(old, Form::complete),
                          write_backend(now, Form::complete));
    };
    comparison.lists(key, before.backends, after.backends, label, add, compare);
}

void compare_service(Comparison& comparison, const Service& before, const Service& after) {
    const std::string key = "service." + after.name;
    comparison.tables(key, write_service(before, Form::complete), write_service(after, Form::complete), "backend");
    compare_backends(comparison, key + ".backend", before, after);
}

void compare_services(Comparison& comparison, const DesiredState& before, const DesiredState& after) {
    const auto name = [](const Service& service) { return service.name; };
    // A new service is shown as what differs from one with nothing but a name and VIPs.
    const auto add = [&](const Service& service) {
        std::string vips;
        for (const Vip& vip : service.vips) vips += " " + vip.text();
        comparison.add("service", service.name + vips);
        compare_service(comparison, Service{.name = service.name, .vips = service.vips}, service);
    };
    const auto compare = [&](const Service& old, const Service& now) { compare_service(comparison, old, now); };
    comparison.lists("service", before.services, after.services, name, add, compare);
}

void compare_ports(Comparison& comparison, const Dataplane& before, const Dataplane& after) {
    const std::string key = "dataplane.port";
    const auto name = [](const Port& port) { return port.name; };
    const auto add = [&](const Port& port) {
        comparison.add(key, port.name + " " + rest_of(write_port(port, Form::brief), "name"));
    };
    const auto compare = [&](const Port& old, const Port& now) {
        comparison.tables(key + "." + now.name, write_port(old, Form::complete), write_port(now, Form::complete));
    };
    comparison.lists(key, before.ports, after.ports, name, add, compare);
    // Ports are numbered by their position: here the order means something.
    const auto names = [&](const std::vector<Port>& ports) {
        Tree list = Tree::array();
        for (const Port& port : ports) list.push_back(port.name);
        return list;
    };
    comparison.order(key, names(before.ports), names(after.ports));
}

void compare_next_hops(Comparison& comparison, const DesiredState& before, const DesiredState& after) {
    const std::string key = "next_hop";
    const auto address = [](const NextHop& hop) { return hop.address.text(); };
    const auto add = [&](const NextHop& hop) {
        comparison.add(key, address(hop) + " " + rest_of(write_next_hop(hop, Form::brief), "address"));
    };
    const auto compare = [&](const NextHop& old, const NextHop& now) {
        comparison.tables(key + "." + address(now), write_next_hop(old, Form::complete),
                          write_next_hop(now, Form::complete));
    };
    comparison.lists(key, before.next_hops, after.next_hops, address, add, compare);
}

}  // namespace

std::vector<Change> changed_keys(const DesiredState& before, const DesiredState& after) {
    Comparison comparison;
    comparison.tables("node", write_node(before.node, Form::complete), write_node(after.node, Form::complete));
    comparison.tables("dataplane", write_dataplane(before.dataplane, Form::complete),
                      write_dataplane(after.dataplane, Form::complete), "port");
    compare_ports(comparison, before.dataplane, after.dataplane);
    compare_next_hops(comparison, before, after);
    compare_services(comparison, before, after);
    comparison.tables("api", write_api(before, Form::complete), write_api(after, Form::complete));
    comparison.tables("announce", write_announce(before, Form::complete), write_announce(after, Form::complete));
    comparison.tables("http", write_http(before, Form::complete), write_http(after, Form::complete));
    comparison.values("ha", write_ha(before, Form::complete), write_ha(after, Form::complete));
    comparison.values("sync", write_sync(before, Form::complete), write_sync(after, Form::complete));
    return comparison.take();
}

}  // namespace shunt::config
