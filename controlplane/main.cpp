// shunt-controlplane: checks the backends, builds the tables, answers the API.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "controlplane/daemon.h"

int main(int argc, char** argv) {
    shunt::controlplane::DaemonOptions options;
    CLI::App app("The deciding process of Shunt: checks backends, publishes tables, answers the API.",
                 "shunt-controlplane");
    app.add_option("--config", options.config_file, "the configuration file")->capture_default_str();
    app.add_option("--run-dir", options.run_directory, "where the API socket and shared memory live")
        ->capture_default_str();
    app.add_option("--state-dir", options.state_directory, "where the state is saved")->capture_default_str();
    bool detach = false;
    app.add_flag("--detach", detach, "take the guard (nftables) away, and end");
    app.set_version_flag("--version", "shunt-controlplane " SHUNT_VERSION);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    const shunt::Status ran = detach ? shunt::controlplane::detach(options) : shunt::controlplane::run_daemon(options);
    if (ran) return 0;
    std::fprintf(stderr, "shunt-controlplane: %s\n", ran.error().text().c_str());
    return 1;
}
