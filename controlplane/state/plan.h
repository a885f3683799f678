// What a request would change, for people: the list that `--dry-run` and `config diff` show.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "controlplane/state/wanted.h"
#include "src/config/changes.h"

namespace shunt::controlplane {

using config::Change;
using config::ChangeKind;
std::string_view to_string(ChangeKind kind) noexcept;

// "+ service.web.backend 198.18.2.15:443 weight 100".
std::string text_of(const Change& change);

// Overrides have keys such as "override.web/198.18.2.11:443/state".
std::vector<Change> plan(const Wanted& before, const Wanted& after, Instant now);

// What the change does not do by itself: "dataplane.workers takes effect when shunt-dataplane is restarted".
std::vector<std::string> remarks(const Wanted& before, const Wanted& after);

}  // namespace shunt::controlplane
