#include "controlplane/ha/ha.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "src/config/file.h"

namespace shunt::controlplane {
namespace {

using config::Track;
using State = shm::NodeHealth::State;

constexpr Duration file_interval = Duration::seconds(1);
constexpr std::array<std::string_view, 4> role_names{"none", "master", "backup", "fault"};

std::string role_file(const std::string& directory) { return directory + "/ha.role"; }

std::string text_of(const RoleTaken& taken) {
    const nlohmann::json json{
        {"role", to_string(taken.role)}, {"since_unix_ms", taken.since_unix_ms}, {"who", taken.who}};
    return json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

// What cannot be read was never said.
RoleTaken read_role(const std::string& path) {
    const auto text = config::read_text(path);
    if (!text) return {};
    const auto json = nlohmann::json::parse(*text, nullptr, false);
    const auto role = json.is_object() && json.contains("role") && json["role"].is_string()
                          ? parse_role(json["role"].get_ref<const std::string&>())
                          : std::nullopt;
    const bool sound = role && json.contains("since_unix_ms") && json["since_unix_ms"].is_number_integer() &&
                       json.contains("who") && json["who"].is_string();
    if (!sound) return {};
    return {*role, json["since_unix_ms"].get<std::int64_t>(), json["who"].get<std::string>()};
}

std::string path_or(const std::string& configured, const std::string& otherwise) {
    return configured.empty() ? otherwise : configured;
}

}  // namespace

std::string_view to_string(Role role) noexcept { return role_names[static_cast<std::size_t>(role)]; }

std::optional<Role> parse_role(std::string_view text) noexcept {
    const auto same = [](char a, char b) { return a == b || (b >= 'A' && b <= 'Z' && a == b - 'A' + 'a'); };
    for (std::size_t i = 0; i < role_names.size(); ++i) {
        if (std::equal(role_names[i].begin(), role_names[i].end(), text.begin(), text.end(), same)) {
            return static_cast<Role>(i);
        }
    }
    return std::nullopt;
}

Ha::Ha(std::string directory, Events& events)
    : directory_(std::move(directory)), events_(events), role_(read_role(role_file(directory_))) {}

void Ha::configure(const std::optional<config::Ha>& wanted) {
    if (wanted == wanted_) return;
    wanted_ = wanted;
    const config::TrackFiles files = wanted ? wanted->track_files : config::TrackFiles{};
    const auto file = [&](const std::string& configured, const char* name) {
        return config::TrackFile(wanted ? path_or(configured, directory_ + "/" + name) : "");
    };
    own_ = file(files.controlplane, "ha.controlplane");
    dataplanes_ = file(files.dataplane, "ha.dataplane");
    own_.take_as_it_is();
    problem_.clear();
}

void Ha::look(const DataplaneSigns& signs, Now now) {
    const bool was_stale = stale();
    const bool moved = signs.held && signs.heartbeat != signs_.heartbeat;
    has_moved_ = has_moved_ || (moved && signs_.heartbeat != 0);
    pulse_.look(signs.held ? std::optional(Instant{signs.heartbeat}) : std::nullopt, now.instant);
    const DataplaneSigns before = std::exchange(signs_, signs);
    tell_of_changes(before, was_stale, now);
    if (configured()) judge(now);
}

void Ha::judge(Now now) {
    if (now.instant >= next_file_look_) {
        next_file_look_ = now.instant + file_interval;
        own_.take_as_it_is();
    }
    if (stale() || !withdrawn_.empty()) {
        sound_since_.reset();
        return say(Track::fault, now);
    }
    if (!has_moved_) return;
    if (!sound_since_) sound_since_ = now.instant;
    const bool long_enough = now.instant - *sound_since_ >= wanted_->hold && held_back_.empty();
    const bool says_so = own_.said() == Track::serves;
    say(says_so || long_enough ? Track::serves : Track::fault, now);
}

void Ha::say(Track track, Now now) {
    const Status said = own_.say(track);
    const std::string text = said ? "" : "keepalived does not hear of the data plane: " + said.error().text();
    if (text == problem_) return;
    log(said ? EventLevel::info : EventLevel::error, said ? own_.path() + " can be written again" : text, now);
    problem_ = text;
}

void Ha::tell_of_changes(const DataplaneSigns& before, bool was_stale, Now now) {
    if (stale() != was_stale) {
        const std::string text = signs_.held ? "the data plane's heartbeat stands still" : "no data plane is running";
        log(was_stale ? EventLevel::info : EventLevel::error, was_stale ? "the data plane lives" : text, now);
    }
    if (signs_.held && signs_.fault != before.fault) {
        const bool over = signs_.fault.empty();
        log(over ? EventLevel::info : EventLevel::warn,
            over ? "over: " + before.fault : "this node cannot serve: " + signs_.fault, now);
    }
    if (signs_.held && signs_.health.state == State::fit && before.health.state != State::fit) {
        log(EventLevel::info, "this node can serve", now);
    }
    if (signs_.held && signs_.track_file_failed && !before.track_file_failed) {
        log(EventLevel::error, "the data plane cannot write " + dataplanes_.path() + ": keepalived does not hear of it",
            now);
    }
}

Status Ha::take_role(Role role, const std::string& who, Now now) {
    if (role == role_.role && role_.since_unix_ms != 0) return Done{};
    const RoleTaken taken{role, now.unix_ms, who};
    if (auto kept = config::rewrite_text(role_file(directory_), text_of(taken)); !kept) return kept;
    log(role == Role::fault ? EventLevel::warn : EventLevel::info,
        "role " + std::string(to_string(role)) + ", after " + std::string(to_string(role_.role)) + "; says " + who,
        now);
    role_ = taken;
    return Done{};
}

std::vector<std::string> Ha::reasons_against() const {
    std::vector<std::string> all;
    if (!signs_.held) {
        all.push_back("no data plane is running");
    } else if (stale()) {
        all.push_back("the data plane's heartbeat stands still");
    } else if (!signs_.fault.empty()) {
        all.push_back(signs_.fault);
    } else if (signs_.health.state == State::unknown) {
        all.push_back("the data plane does not say whether it can serve");
    } else if (signs_.health.state != State::fit) {
        all.push_back("nothing is wrong any more, but not yet for long enough");
    }
    for (const std::string& reason : {withdrawn_, held_back_}) {
        if (!reason.empty()) all.push_back(reason);
    }
    for (const config::TrackFile* file : {&dataplanes_, &own_}) {
        if (file->path().empty() || file->read() == Track::serves) continue;
        const auto says = file->read();
        all.push_back(file->path() + (says ? " says 1" : " cannot be read"));
    }
    return all;
}

void Ha::log(EventLevel level, std::string text, Now now) {
    events_.add({.unix_ms = now.unix_ms, .kind = EventKind::ha, .level = level, .text = std::move(text)});
}

}  // namespace shunt::controlplane
