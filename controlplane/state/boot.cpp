#include "controlplane/state/boot.h"

#include <optional>
#include <utility>

#include "controlplane/state/saved.h"
#include "src/config/file.h"
#include "src/config/toml.h"
#include "src/config/validate.h"

namespace shunt::controlplane {
namespace {

// Nothing if there is none, or none that can be used.
Result<std::optional<Wanted>> load(Store& store, Events& events, Now now) {
    const auto text = store.load();
    if (!text) return text.error();
    if (!*text) return std::optional<Wanted>{};
    auto wanted = read_saved(**text, store.path(), now);
    Status sound = wanted ? config::validate(wanted->desired) : Status(wanted.error());
    if (sound) return std::optional<Wanted>(std::move(*wanted));
    const auto aside = store.set_aside();
    if (!aside) return aside.error();
    events.add({.unix_ms = now.unix_ms,
                .kind = EventKind::config,
                .level = EventLevel::error,
                .text = "the saved state cannot be used, and what was changed by hand since the configuration file is "
                        "lost: " +
                        sound.error().text() + "; it was moved to " + *aside + ", the configuration file is used"});
    return std::optional<Wanted>{};
}

}  // namespace

Result<ConfigFile> read_config_file(const std::string& path) {
    const auto text = config::read_text(path);
    if (!text) return text.error();
    config::Positions positions;
    auto desired = config::parse_toml(*text, path, &positions);
    if (!desired) return desired.error();
    if (const Status sound = config::validate(*desired, positions); !sound) return sound.error();
    config::fix_table_sizes(*desired);
    return ConfigFile{std::move(*desired), text_hash(*text)};
}

Result<Boot> boot(Store& store, const std::string& config_file, Events& events, Now now) {
    auto saved = load(store, events, now);
    if (!saved) return saved.error();
    if (*saved) return Boot{std::move(**saved), true};
    auto file = read_config_file(config_file);
    if (!file) return file.error();
    return Boot{Wanted{.desired = std::move(file->desired), .file_hash = file->hash}, false};
}

}  // namespace shunt::controlplane
