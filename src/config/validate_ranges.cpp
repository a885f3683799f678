// What services of several ports, or of a whole address, ask of each other and of their backends.
#include <algorithm>
#include <vector>

#include "src/config/finder.h"

namespace shunt::config {
namespace {

// A VIP of several ports, and where it stands.
struct Place {
    const Vip* vip{};
    const Service* service{};
    std::size_t index{};
};

bool same_address(const Vip& a, const Vip& b) { return a.address == b.address && a.protocol == b.protocol; }

bool has_fixed_port(const Backend& backend) { return backend.port != 0; }

class RangeExaminer {
  public:
    explicit RangeExaminer(Finder& finder) : finder_(finder), state_(finder.state()) {
        for (const Service& service : state_.services) {
            for (std::size_t i = 0; i < service.vips.size(); ++i) {
                if (!service.vips[i].ports.is_one()) places_.push_back({&service.vips[i], &service, i});
            }
        }
    }
    void examine() {
        overlaps();
        whole_addresses();
        for (const Place& place : places_) is_no_source(place);
        const Service* last = nullptr;
        for (const Place& place : places_) {
            if (place.service != std::exchange(last, place.service)) backends(place);
        }
        for (const Service& service : state_.services) check(service);
    }

  private:
    Path at(const Place& place) const { return finder_.at_vip(*place.service, place.index); }

    // The most specific listener of a port is its own: two ranges of one address must not share any. A range within
    // the whole address may; what is there twice was refused as such.
    void overlaps() {
        std::vector<Place> ranges;
        std::ranges::copy_if(places_, std::back_inserter(ranges),
                             [](const Place& p) { return !p.vip->ports.is_all(); });
        std::ranges::stable_sort(
            ranges, {}, [](const Place& p) { return std::tuple(p.vip->address, p.vip->protocol, p.vip->ports); });
        const Place* widest = nullptr;  // of this address, the one that reaches furthest
        for (const Place& place : ranges) {
            const bool meets = widest != nullptr && same_address(*widest->vip, *place.vip);
            if (meets && widest->vip->ports.overlaps(place.vip->ports) && *widest->vip != *place.vip) {
                refuse_overlap(*widest, place);
            }
            if (!meets || place.vip->ports.last > widest->vip->ports.last) widest = &place;
        }
    }
    void refuse_overlap(const Place& one, const Place& other) {
        const bool later = std::pair(one.service, one.index) < std::pair(other.service, other.index);
        const Place& first = later ? one : other;
        const Place& second = later ? other : one;
        const bool same = first.service == second.service;
        finder_.refuse(at(second),
                       "the VIP " + second.vip->text() + " overlaps " + first.vip->text() +
                           (same ? " of the same service" : " of service " + quoted(first.service->name)),
                       "let the ranges end before the next begins; a single port within a range may have a service of "
                       "its own");
    }

    void whole_addresses() {
        const auto is_it = [](const Place& p) { return p.vip->ports.is_all() && p.vip->protocol == Protocol::tcp; };
        const auto first = std::ranges::find_if(places_, is_it);
        if (first == places_.end()) return;
        const auto more = static_cast<std::size_t>(std::ranges::count_if(places_, is_it)) - 1;
        finder_.warn(at(*first),
                     first->vip->text() + (more != 0 ? " and " + number(more) + " more" : "") +
                         " take every TCP port of the address that has no service of its own, that of ssh included",
                     "reach this host by another address");
    }

    // Replies to checks come to a port of the kernel's choice.
    void is_no_source(const Place& place) {
        if (std::ranges::find(state_.node.source, place.vip->address) == state_.node.source.end()) return;
        finder_.refuse(at(place),
                       place.vip->text() + " would take the answers to this node's own connections: " +
                           place.vip->address.text() + " is a source of [node]",
                       "use another address for one of the two");
    }

    // `place` is the service's first VIP of several ports.
    void backends(const Place& place) {
        const Service& service = *place.service;
        if (!traits_of(service.mode).translates) return;  // its backends listen where the VIP does
        const auto fixed = std::ranges::find_if(service.backends, has_fixed_port);
        if (fixed == service.backends.end()) return;
        const std::string what = "all ports of " + place.vip->text() + " become port " + number(fixed->port) + " of " +
                                 fixed->address.text();
        const Path path = finder_.at(service, *fixed).child("port");
        if (!service.flows) {
            return finder_.refuse(
                path, what + ", and with flows = \"off\" nobody could tell which port a reply is to come from",
                "remove it: packets then keep their port; or set flows = \"on\"");
        }
        finder_.warn(path,
                     what +
                         ": two connections from one client port would be one at the backend, and replies without a "
                         "known flow are dropped",
                     "remove it where the backend can listen on the same ports");
    }

    // The port that a check takes from the VIP is the first that stands alone.
    void check(const Service& service) {
        if (!service.check || service.check->port || service.vips.empty()) return;
        const auto is_one = [](const Vip& vip) { return vip.ports.is_one(); };
        if (std::ranges::any_of(service.vips, is_one)) return;
        const auto backend = std::ranges::find_if_not(service.backends, has_fixed_port);
        if (backend == service.backends.end()) return;
        finder_.refuse(finder_.at(service).child("check").child("port"),
                       "service " + quoted(service.name) + ": the check has no port, nor has " + label(*backend) +
                           ", and " + service.vips.front().text() + " has many",
                       "add port to [service.check]");
    }

    Finder& finder_;
    const DesiredState& state_;
    std::vector<Place> places_{};
};

}  // namespace

void examine_ranges(Finder& finder) { RangeExaminer(finder).examine(); }

}  // namespace shunt::config
