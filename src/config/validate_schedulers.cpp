#include <algorithm>

#include "src/balance/ring.h"
#include "src/config/finder.h"

namespace shunt::config {
namespace {

// A choice that looks at every backend for each flow takes its time: at this number some ten thousand cycles.
constexpr std::size_t most_looked_at = 1024;

std::string names_of(bool (*which)(const SchedulerTraits&)) {
    std::string names;
    for (const SchedulerTraits& traits : schedulers) {
        if (which(traits)) names += (names.empty() ? "" : ", ") + quoted(std::string(traits.name));
    }
    return names;
}
std::string those_that_hash() {
    return names_of([](const SchedulerTraits& t) { return t.hashes(); });
}
std::string those_of_the_table() {
    return names_of([](const SchedulerTraits& t) { return t.only_table(); });
}

constexpr std::uint64_t most_ring_points = 4'000'000;  // 10,000 backends of weight 100

class SchedulerExaminer {
  public:
    explicit SchedulerExaminer(Finder& finder) : finder_(finder) {}

    void examine(const Service& service) {
        const SchedulerTraits& traits = traits_of(service.scheduler);
        const std::string scheduler = "scheduler " + quoted(std::string(traits.name));
        const Path at = finder_.at(service);
        if (!service.flows && !traits.only_table()) {
            finder_.refuse(at.child("scheduler"),
                           scheduler + " remembers where it sent a flow, but flows = \"off\" remembers none",
                           "use one of " + those_of_the_table() + ", or flows = \"on\"");
        }
        affinity(service, traits, scheduler);
        if (service.load_factor && traits.choice != Choice::bounded) {
            finder_.refuse(at.child("load_factor"), scheduler + " has no use for load_factor",
                           "remove it, or use scheduler \"maglev-bounded\"");
        }
        if (traits.looks_at_all() && service.backends.size() > most_looked_at) {
            finder_.refuse(
                at.child("scheduler"),
                scheduler + " looks at every backend for each flow, and here are " + number(service.backends.size()),
                "use scheduler \"power-of-two\", or at most " + number(most_looked_at) + " backends");
        }
        if (service.scheduler == Scheduler::ring) ring_size(service);
        weights(service);
    }

  private:
    // The whole ring is made anew whenever a backend comes or goes.
    void ring_size(const Service& service) {
        std::uint64_t points = 0;
        for (const Backend& backend : service.backends)
            points += std::uint64_t{ring_points_per_weight} * backend.weight;
        if (points <= most_ring_points) return;
        finder_.refuse(finder_.at(service).child("scheduler"),
                       "the ring of service " + quoted(service.name) + " would have " + number(points) +
                           " virtual nodes, " + number(ring_points_per_weight) + " for each unit of weight",
                       "use at most " + number(most_ring_points) + ": smaller weights, or scheduler \"maglev\"");
    }

    void affinity(const Service& service, const SchedulerTraits& traits, const std::string& scheduler) {
        const Path path = finder_.at(service).child("affinity");
        const Affinity affinity = service.effective_affinity();
        if (affinity != Affinity::five_tuple && !traits.hashes()) {
            finder_.refuse(path, scheduler + " takes no notice of the source: it cannot keep one at its backend",
                           "remove it, or use one of " + those_that_hash());
        }
        if (affinity == Affinity::five_tuple && traits.affinity != Affinity::five_tuple) {
            finder_.refuse(path, scheduler + " goes by the source, not by the 5-tuple",
                           "use \"source\" or \"source-port\", or scheduler \"maglev\"");
        }
    }

    // Weight 0 also says "drain", but not of everybody: a service is taken out of use by the state of its backends.
    void weights(const Service& service) {
        const auto is_weightless = [](const Backend& backend) { return backend.weight == 0; };
        const auto is_ready = [](const Backend& backend) { return backend.state == BackendState::ready; };
        if (!std::ranges::all_of(service.backends, is_weightless)) return;
        const auto first = std::ranges::find_if(service.backends, is_ready);
        if (first == service.backends.end()) return;
        finder_.refuse(finder_.at(service, *first).child("weight"),
                       "the weights of service " + quoted(service.name) + " are all 0: nobody would take a new flow",
                       "give one backend a weight of 1 to 1000, or all of them state = \"drain\" if that is meant");
    }

    Finder& finder_;
};

}  // namespace

void examine_schedulers(Finder& finder) {
    SchedulerExaminer examiner(finder);
    for (const Service& service : finder.state().services) examiner.examine(service);
}

}  // namespace shunt::config
