#include "controlplane/state/plan.h"

#include <algorithm>
#include <optional>

namespace shunt::controlplane {
namespace {

// They are ordered by id.
const Override* find(const std::vector<Override>& overrides, const std::string& id) {
    const auto found = std::lower_bound(overrides.begin(), overrides.end(), id,
                                        [](const Override& o, const std::string& wanted) { return o.id() < wanted; });
    return found == overrides.end() || found->id() != id ? nullptr : &*found;
}

// What shunt-dataplane reads of [ha], when it starts.
std::optional<config::Ha> told_to_dataplane(std::optional<config::Ha> ha) {
    if (ha) ha->track_files.controlplane.clear();
    return ha;
}

}  // namespace

std::string_view to_string(ChangeKind kind) noexcept {
    switch (kind) {
        case ChangeKind::add:
            return "add";
        case ChangeKind::remove:
            return "remove";
        case ChangeKind::change:
            break;
    }
    return "change";
}

std::string text_of(const Change& change) {
    switch (change.kind) {
        case ChangeKind::add:
            return "+ " + change.key + " " + change.after;
        case ChangeKind::remove:
            return "- " + change.key + " " + change.before;
        case ChangeKind::change:
            break;
    }
    return "~ " + change.key + " " + change.before + " -> " + change.after;
}

std::vector<Change> plan(const Wanted& before, const Wanted& after, Instant now) {
    std::vector<Change> changes = config::changed_keys(before.desired, after.desired);
    for (const auto& old : before.overrides) {
        const auto* later = find(after.overrides, old.id());
        if (later == nullptr) changes.push_back({ChangeKind::remove, "override." + old.id(), old.text(now), ""});
        if (later != nullptr && !(*later == old)) {
            changes.push_back({ChangeKind::change, "override." + old.id(), old.text(now), later->text(now)});
        }
    }
    for (const auto& added : after.overrides) {
        if (find(before.overrides, added.id()) == nullptr) {
            changes.push_back({ChangeKind::add, "override." + added.id(), "", added.text(now)});
        }
    }
    return changes;
}

std::vector<std::string> remarks(const Wanted& before, const Wanted& after) {
    std::vector<std::string> all;
    const auto restart = [&](const std::string& what, const std::string& program) {
        all.push_back(what + " takes effect when " + program + " is restarted");
    };
    config::Dataplane dataplane = before.desired.dataplane;
    dataplane.timeouts = after.desired.dataplane.timeouts;  // which tables carry
    if (!(dataplane == after.desired.dataplane)) {
        all.push_back("[dataplane] takes effect when shunt-dataplane is restarted with a file that says the same");
    }
    if (told_to_dataplane(before.desired.ha) != told_to_dataplane(after.desired.ha)) {
        all.push_back("[ha] takes effect for shunt-dataplane when it is restarted with a file that says the same");
    }
    if (before.desired.node.source != after.desired.node.source) restart("[node] source", "shunt-controlplane");
    if (before.desired.api_socket != after.desired.api_socket) restart("[api] socket", "shunt-controlplane");
    return all;
}

}  // namespace shunt::controlplane
