#include "controlplane/server/ha.h"

#include <algorithm>
#include <array>

namespace shunt::controlplane {
namespace {

using Json = nlohmann::json;

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

std::string_view name_of(shm::NodeHealth::State state) {
    constexpr std::array<std::string_view, 4> names{"unknown", "unfit", "held", "fit"};
    return names[static_cast<std::size_t>(state) % names.size()];
}

// What the file says, not what somebody believes that it says.
void put_file(Json& json, const config::TrackFile& file) {
    const auto says = file.path().empty() ? std::nullopt : file.read();
    json["track_file"] = text_or_null(file.path());
    json["track_file_says"] = says ? Json(static_cast<int>(*says)) : Json(nullptr);
}

Json dataplane_json(const Ha& ha, Now now) {
    const DataplaneSigns& signs = ha.signs();
    const bool known = signs.held && signs.health_since != 0;
    Json json{{"alive", signs.held},
              {"heartbeat_stale", ha.stale()},
              {"state", signs.held ? name_of(signs.health.state) : "unknown"},
              {"fault", signs.held ? text_or_null(signs.fault) : Json(nullptr)},
              {"for_ms", nullptr},
              {"track_file_failed", signs.track_file_failed}};
    if (known) {
        json["for_ms"] = std::max<std::int64_t>(0, (now.instant - Instant{signs.health_since}).in_milliseconds());
    }
    put_file(json, ha.dataplane_file());
    return json;
}

}  // namespace

Json to_json(const Ha& ha, Now now) {
    const RoleTaken& taken = ha.role();
    const bool ever = taken.since_unix_ms != 0;
    const auto reasons = ha.reasons_against();
    Json controlplane{{"problem", text_or_null(ha.problem())}};
    put_file(controlplane, ha.own_file());
    return {{"configured", ha.configured()},
            {"role", to_string(taken.role)},
            {"role_for_ms", ever ? Json(std::max<std::int64_t>(0, now.unix_ms - taken.since_unix_ms)) : Json(nullptr)},
            {"role_said_by", text_or_null(taken.who)},
            {"ready", reasons.empty()},
            {"reasons", reasons},
            {"held_back", text_or_null(ha.held_back())},
            {"dataplane", dataplane_json(ha, now)},
            {"controlplane", std::move(controlplane)}};
}

}  // namespace shunt::controlplane
