// shunt-dataplane: the forwarding process.
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <string>

#include "dataplane/main/data_plane.h"
#include "dataplane/main/port_set.h"
#include "dataplane/neighbours/neighbours.h"
#include "src/config/file.h"
#include "src/config/validate.h"

namespace {

struct Options {
    std::string config{"/etc/shunt/shunt.toml"};
    std::string run_directory{"/run/shunt"};
    bool detach{};
};

constexpr int succeeded = 0, refused = 1, misused = 2;

int refuse(const shunt::Error& error) {
    spdlog::error("{}", error.text());
    return refused;
}

// Errors about what the configuration says name the file.
int refuse(shunt::Error error, const std::string& file) {
    if (error.file.empty()) error.file = file;
    return refuse(error);
}

int run(const Options& options) {
    shunt::config::Positions positions;
    const auto desired = shunt::config::load_file(options.config, &positions);
    if (!desired) return refuse(desired.error());
    if (const auto valid = shunt::config::validate(*desired, positions); !valid) return refuse(valid.error());
    if (options.detach) {
        const auto detached = shunt::dataplane::PortSet::detach(desired->dataplane);
        if (!detached) return refuse(detached.error(), options.config);
        const auto released = shunt::dataplane::Neighbours::release_all();
        return released ? succeeded : refuse(released.error());
    }
    auto plane = shunt::dataplane::DataPlane::start(*desired, options.run_directory);
    if (!plane) return refuse(plane.error(), options.config);
    const auto done = (*plane)->run();
    return done ? succeeded : refuse(done.error());
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app{"Shunt's forwarding process: one poll-mode worker per core."};
    app.add_option("--config", options.config, "Configuration file")->capture_default_str();
    app.add_option("--run-dir", options.run_directory, "Directory of this instance")->capture_default_str();
    app.add_flag("--detach", options.detach,
                 "Take the steering program off the configured interfaces, let go of the kernel's neighbours, and end");
    app.set_version_flag("--version", std::string("shunt-dataplane ") + SHUNT_VERSION);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? succeeded : misused;
    }
    spdlog::set_default_logger(spdlog::stderr_logger_mt("shunt-dataplane"));
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %n %l: %v");
    spdlog::flush_on(spdlog::level::info);
    return run(options);
}
