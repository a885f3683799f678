// shunt-dataplane: the forwarding process.
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "dataplane/main/data_plane.h"
#include "dataplane/main/inheritance.h"
#include "dataplane/main/port_set.h"
#include "dataplane/main/supervisor.h"
#include "dataplane/neighbours/neighbours.h"
#include "src/config/file.h"
#include "src/config/validate.h"

namespace shunt {
namespace {

struct Options {
    std::string config{"/etc/shunt/shunt.toml"};
    std::string run_directory{"/run/shunt"};
    bool detach{};
    bool supervise{};
    int successor{-1};
};

constexpr int succeeded = 0, refused = 1, misused = 2;

int end_with(const Status& status) {
    if (status) return succeeded;
    spdlog::error("{}", status.error().text());
    return refused;
}

// Errors about what the configuration says name the file.
Error in_file(Error error, const std::string& file) {
    if (error.file.empty()) error.file = file;
    return error;
}

Result<config::DesiredState> read_configuration(const Options& options) {
    config::Positions positions;
    auto desired = config::load_file(options.config, &positions);
    if (!desired) return desired;
    if (const auto valid = config::validate(*desired, positions); !valid) return valid.error();
    return desired;
}

Status detach(const Options& options) {
    const auto desired = read_configuration(options);
    if (!desired) return desired.error();
    if (const auto detached = dataplane::PortSet::detach(desired->dataplane); !detached) {
        return in_file(detached.error(), options.config);
    }
    return dataplane::Neighbours::release_all();
}

// Of the data plane itself, whoever starts it.
std::vector<std::string> arguments_of(const Options& options) {
    return {"shunt-dataplane", "--config", options.config, "--run-dir", options.run_directory};
}

Status serve(const Options& options, dataplane::Inheritance* from) {
    const auto desired = read_configuration(options);
    if (!desired) return desired.error();
    auto plane = dataplane::DataPlane::start(*desired, options.run_directory, arguments_of(options), from);
    if (!plane) return in_file(plane.error(), options.config);
    return (*plane)->run();
}

// Whoever hands over to us hears why it cannot be.
Status succeed(const Options& options) {
    auto from = dataplane::Inheritance::read(options.successor);
    if (!from) return from.error();
    const auto done = serve(options, &*from);
    if (!done) from->refuse(done.error());
    return done;
}

int run(const Options& options) {
    if (options.detach) return end_with(detach(options));
    if (options.supervise) return dataplane::Supervisor(arguments_of(options), options.run_directory).run();
    if (options.successor >= 0) return end_with(succeed(options));
    return end_with(serve(options, nullptr));
}

}  // namespace
}  // namespace shunt

int main(int argc, char** argv) {
    using namespace shunt;
    Options options;
    CLI::App app{"Shunt's forwarding process: one poll-mode worker per core."};
    app.add_option("--config", options.config, "Configuration file")->capture_default_str();
    app.add_option("--run-dir", options.run_directory, "Directory of this instance")->capture_default_str();
    app.add_flag("--detach", options.detach,
                 "Take the steering program off the configured interfaces, let go of the kernel's neighbours, and end");
    app.add_flag("--supervise", options.supervise,
                 "Run it in a process of its own, and start it again whenever it dies: for machines without systemd");
    app.add_option("--successor", options.successor)->group("");  // of `shunt upgrade`: the channel to whom we follow
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
