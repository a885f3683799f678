#include "controlplane/state/saved.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "src/config/toml.h"

namespace shunt::controlplane {
namespace {

using Json = nlohmann::json;

constexpr std::string_view title = "# shunt state 1, checksum ";
constexpr std::string_view note = "# Written by shunt-controlplane at every change. Do not edit: use `shunt`.\n";
constexpr std::string_view mark = "#: ";

std::string hex(std::uint64_t value) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
    return text;
}

Json to_json(const Override& override, Now now) {
    Json json{{"service", override.service}, {"backend", override.backend},           {"owner", override.owner},
              {"reason", override.reason},   {"made_unix_ms", override.made_unix_ms}, {"expires_unix_ms", nullptr}};
    if (override.kind == OverrideKind::node) json["node"] = true;
    if (override.kind != OverrideKind::weight) {
        json["state"] = to_string(override.state);
    } else {
        json["weight"] = override.weight;
    }
    if (override.expires) {
        json["expires_unix_ms"] = now.unix_ms + (*override.expires - now.instant).in_milliseconds();
    }
    return json;
}

// Throws what the JSON library throws when something is missing or of another type.
Override override_from(const Json& json, Now now) {
    Override override{.service = json.at("service"), .backend = json.at("backend")};
    if (json.contains("node")) override.kind = OverrideKind::node;
    if (json.contains("state")) {
        override.state = parse_backend_state(json.at("state").get<std::string>()).value();
    } else {
        override.kind = OverrideKind::weight;
        override.weight = json.at("weight");
    }
    override.owner = json.at("owner");
    override.reason = json.at("reason");
    override.made_unix_ms = json.at("made_unix_ms");
    if (const auto& expires = json.at("expires_unix_ms"); !expires.is_null()) {
        override.expires = now.instant + Duration::milliseconds(expires.get<std::int64_t>() - now.unix_ms);
    }
    return override;
}

void take_note(const Json& json, Wanted& wanted, Now now) {
    if (json.contains("override")) {
        wanted.overrides.push_back(override_from(json.at("override"), now));
        return;
    }
    wanted.revision = json.at("revision");
    wanted.origin = json.at("origin") == "file" ? Origin::file : Origin::api;
    wanted.file_hash = std::stoull(json.at("file_hash").get<std::string>(), nullptr, 16);
}

}  // namespace

std::string write_saved(const Wanted& wanted, Now now) {
    const Json head{
        {"revision", wanted.revision}, {"origin", to_string(wanted.origin)}, {"file_hash", hex(wanted.file_hash)}};
    const auto line = [](const Json& json) {
        return std::string(mark) + json.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
    };
    std::string rest = std::string(note) + line(head);
    for (const auto& override : wanted.overrides) rest += line({{"override", to_json(override, now)}});
    rest += config::to_toml(wanted.desired);
    return std::string(title) + hex(text_hash(rest)) + "\n" + rest;
}

Result<Wanted> read_saved(std::string_view text, const std::string& file, Now now) {
    const auto refuse = [&](const char* why) { return Error{.message = why, .file = file}; };
    const auto end = text.find('\n');
    if (!text.starts_with(title) || end == std::string_view::npos) return refuse("this is not a saved state");
    const std::string_view sum = text.substr(title.size(), end - title.size());
    const std::string_view rest = text.substr(end + 1);
    if (sum != hex(text_hash(rest))) return refuse("the saved state is damaged: wrong checksum");

    auto desired = config::parse_toml(rest, file);
    if (!desired) return desired.error();
    Wanted wanted{.desired = std::move(desired).value()};
    try {
        for (std::size_t at = 0; at < rest.size() && rest[at] == '#';) {
            const auto stop = rest.find('\n', at);
            const std::string_view comment = rest.substr(at, stop - at);
            if (comment.starts_with(mark)) take_note(Json::parse(comment.substr(mark.size())), wanted, now);
            if (stop == std::string_view::npos) break;
            at = stop + 1;
        }
    } catch (const std::exception& e) {  // the checksum is right, so another version wrote this
        return Error{.message = std::string("the notes of the saved state cannot be read: ") + e.what(), .file = file};
    }
    return wanted;
}

}  // namespace shunt::controlplane
