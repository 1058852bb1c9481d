#include "fuse/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string_view>
#include <system_error>

#include "core/base/trace.h"
#include "fuse/byte_size.h"
#include "fuse/commands/cat.h"
#include "fuse/commands/check.h"
#include "fuse/commands/exit_codes.h"
#include "fuse/commands/extents.h"
#include "fuse/commands/format.h"
#include "fuse/commands/info.h"
#include "fuse/commands/log.h"
#include "fuse/commands/ls.h"
#include "fuse/commands/mount.h"
#include "fuse/commands/probe.h"
#include "fuse/commands/recover.h"
#include "fuse/commands/stat.h"
#include "fuse/commands/umount.h"
#include "fuse/commands/usn.h"
#include "fuse/nearest_name.h"
#include "fuse/served_mount.h"
#include "usn/journal.h"

namespace ntfs::frontend {

namespace {

/// The commands as CLI11 knows them, and where it puts what it parses.
class CommandLine {
 public:
  CommandLine() : app_("A file system for NTFS volumes that journals every change.", "ntfs-wal") {
    app_.require_subcommand(1);
    app_.footer(
        "`ntfs-wal COMMAND --help` explains a command.\n"
        "example: ntfs-wal mount disk.img /mnt\n");
    app_.set_version_flag("--version", "ntfs-wal 0.1.0");
    add_format();
    add_mount();
    add_probe();
    add_info();
    add_look();
    add_log();
    add_check();
    add_recover();
    add_usn();
  }

  int run(int argc, char** argv) {
    if (argc > 1 && argv[1][0] != '-' && !is_command(argv[1])) return refuse_command(argv[1]);
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      const int code = app_.exit(error);
      return code == 0 ? kExitSuccess : usage_code(argc, argv);
    }
    if (!run_) return kExitUsage;
    const std::string_view command = argv[1];
    return run_to_the_end(command == "check" ? kCheckCouldNotRun : kExitIo);
  }

 private:
  std::vector<std::string> command_names() {
    std::vector<std::string> names;
    for (const CLI::App* command : app_.get_subcommands({})) names.push_back(command->get_name());
    return names;
  }
  bool is_command(std::string_view name) {
    const auto names = command_names();
    return std::find(names.begin(), names.end(), name) != names.end();
  }
  int refuse_command(std::string_view name) {
    const auto names = command_names();
    const std::vector<std::string_view> words(names.begin(), names.end());
    const std::string_view nearest = nearest_name(name, words);
    std::string text = "there is no command '" + std::string(name) + "'";
    if (!nearest.empty()) text += "; did you mean '" + std::string(nearest) + "'?";
    log_line(LogLevel::Error, text + " (`ntfs-wal --help` lists all)");
    return kExitUsage;
  }

  /// Some commands keep the exit codes of those that they stand in for.
  static int usage_code(int argc, char** argv) {
    const std::string_view command = argc > 1 ? argv[1] : "";
    if (command == "probe") return kProbeUsage;
    if (command == "check") return kCheckUsage;
    if (command == "mount" || command == "umount") return kMountUsage;
    return kExitUsage;
  }

  /// What was printed must have arrived: a full disk makes an empty listing of one that is not.
  int run_to_the_end(int code_of_failure) {
    int code = kExitSuccess;
    try {
      code = run_();
    } catch (const std::system_error&) {  // by {fmt}
      if (std::ferror(stdout) == 0) throw;
    }
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
    log_line(LogLevel::Error, "standard output: not everything could be written");
    return code_of_failure;
  }

  CLI::App* add(const std::string& name, const std::string& what, const std::string& example) {
    CLI::App* command = app_.add_subcommand(name, what);
    command->footer("example: " + example + "\n");
    return command;
  }

  static void add_source(CLI::App* command, std::string& source) {
    command->add_option("SOURCE", source, "image file or block device")->required();
  }
  static void add_json(CLI::App* command, bool& json) {
    command->add_flag("--json", json, "answer in JSON");
  }
  static void add_size(CLI::App* command, const std::string& name, uint64_t& size,
                       const std::string& what) {
    command->add_option_function<std::string>(
        name,
        [name, &size](const std::string& text) {
          const auto parsed = parse_byte_size(text);
          if (!parsed) throw CLI::ValidationError(name, "'" + text + "' is not a size like 64M");
          size = *parsed;
        },
        what + " (K, M, G, T)");
  }

  void add_format() {
    CLI::App* command = add("format", "Makes an NTFS 3.1 volume; what was on SOURCE is gone.",
                            "ntfs-wal format disk.img --size 10G --label Data");
    add_source(command, format_.source);
    add_size(command, "--size", format_.size_bytes, "of the volume; creates an image file");
    add_size(command, "--cluster-size", format_.cluster_size, "512 to 2M");
    add_size(command, "--sector-size", format_.sector_size, "512 or 4096");
    add_size(command, "--record-size", format_.record_size, "of file records: 1K or 4K");
    add_size(command, "--log-size", format_.log_size, "of $LogFile");
    add_size(command, "--usn-size", format_.usn_size, "of the change journal");
    command->add_option("--label", format_.label, "name of the volume");
    command->add_flag("--no-usn", format_.no_usn, "without a change journal");
    command->add_flag("--reflink", format_.reflink, "let files share clusters");
    command->add_flag("--force", format_.force, "even if SOURCE holds something else");
    add_json(command, format_.json);
    command->callback([this] { run_ = [this] { return run_format(format_); }; });
  }

  void add_mount() {
    CLI::App* command = add("mount", "Mounts a volume and returns when it can be used.",
                            "ntfs-wal mount disk.img /mnt -o uid=1000,umask=022");
    add_source(command, mount_.source);
    command->add_option("DIR", mount_.directory, "where to")->required();
    command->add_option("-o,--options", mount_option_list_, "mount options, see mount.ntfs-wal(8)")
        ->allow_extra_args(false);
    command->add_flag("-f,--foreground", mount_.foreground, "stay in the foreground");
    command->add_flag("-v,--verbose", mount_.verbose, "say what is done");
    command->add_flag("--trace-requests", mount_.trace_requests,
                      "print every request of the kernel (in the foreground)");
    command->callback([this] {
      for (const std::string& options : mount_option_list_) {
        if (!mount_.options.empty()) mount_.options += ',';
        mount_.options += options;
      }
      run_ = [this] { return run_mount(mount_); };
    });
    CLI::App* unmount = add("umount", "Unmounts; returns when the volume is clean on the device.",
                            "ntfs-wal umount /mnt");
    unmount->add_option("DIR", unmount_directory_, "where it is mounted")->required();
    unmount->callback([this] { run_ = [this] { return run_umount(unmount_directory_); }; });
  }

  void add_probe() {
    CLI::App* command = add("probe", "Says whether a volume can be mounted; writes nothing.",
                            "ntfs-wal probe --readwrite /dev/sdb1");
    add_source(command, probe_.source);
    command->add_flag("--readwrite", probe_.readwrite, "can it be written, too?");
    add_json(command, probe_.json);
    command->callback([this] { run_ = [this] { return run_probe(probe_); }; });
  }

  void add_info() {
    CLI::App* command = add("info", "Shows geometry, label, log, change journal and free space.",
                            "ntfs-wal info --json disk.img");
    add_source(command, info_.source);
    add_json(command, info_.json);
    command->callback([this] { run_ = [this] { return run_info(info_); }; });
  }

  void add_look() {
    CLI::App* ls = add("ls", "Lists a directory of a volume that need not be mounted.",
                       "ntfs-wal ls -l disk.img /Users");
    add_source(ls, ls_.source);
    ls->add_option("PATH", ls_.path, "in the volume (/)");
    ls->add_flag("-l,--long", ls_.is_long, "with type, links, size, time and file reference");
    add_json(ls, ls_.json);
    ls->callback([this] { run_ = [this] { return run_ls(ls_); }; });

    CLI::App* cat = add("cat", "Writes the data of a file to stdout.",
                        "ntfs-wal cat disk.img /notes.txt > notes.txt");
    add_source(cat, cat_.source);
    cat->add_option("PATH", cat_.path, "in the volume")->required();
    cat->callback([this] { run_ = [this] { return run_cat(cat_); }; });

    CLI::App* stat = add("stat", "Shows what the file record of a file says.",
                         "ntfs-wal stat disk.img /notes.txt");
    add_source(stat, stat_.source);
    stat->add_option("PATH", stat_.path, "in the volume")->required();
    add_json(stat, stat_.json);
    stat->callback([this] { run_ = [this] { return run_stat(stat_); }; });

    CLI::App* extents = add("extents", "Shows where the data of a file stands on the volume.",
                            "ntfs-wal extents disk.img /video.mkv");
    add_source(extents, extents_.source);
    extents->add_option("PATH", extents_.path, "in the volume")->required();
    add_json(extents, extents_.json);
    extents->callback([this] { run_ = [this] { return run_extents(extents_); }; });
  }

  void add_log() {
    CLI::App* command = add("log", "Shows the records of $LogFile, oldest first.",
                            "ntfs-wal log --file 38 disk.img");
    add_source(command, log_.source);
    command->add_option("--from", log_.from_lsn, "from this LSN on");
    command->add_option("--transaction", log_.transaction, "only this transaction id");
    command->add_option_function<std::string>(
        "--file",
        [this](const std::string& text) {
          log_.file_record = parse_file_record(text);
          if (!log_.file_record) {
            throw CLI::ValidationError("--file",
                                       "'" + text + "' is not a reference like 38 or 38:5");
          }
        },
        "only what changes the file with this reference");
    command->add_flag("--stats", log_.stats, "totals instead of records");
    add_json(command, log_.json);
    command->callback([this] { run_ = [this] { return run_log(log_); }; });
  }

  void add_check() {
    CLI::App* command =
        add("check",
            "Verifies every structure of a volume; writes nothing. Exit code 0 clean, 4 "
            "errors found, 8 could not run, 16 usage.",
            "ntfs-wal check disk.img");
    add_source(command, check_.source);
    add_json(command, check_.json);
    command->callback([this] { run_ = [this] { return run_check(check_); }; });
  }

  void add_recover() {
    CLI::App* command =
        add("recover", "Replays the log of a volume that was not unmounted, without mounting it.",
            "ntfs-wal recover --dry-run disk.img");
    add_source(command, recover_.source);
    command->add_flag("--dry-run", recover_.dry_run, "say what would be done; write nothing");
    add_json(command, recover_.json);
    command->callback([this] { run_ = [this] { return run_recover(recover_); }; });
  }

  using UsnCommand = int (*)(const UsnOptions&);
  /// `fsutil`: what Windows' program calls it.
  CLI::App* add_usn_command(CLI::App* usn, const std::string& name, const std::string& fsutil,
                            const std::string& what, UsnCommand command) {
    CLI::App* added = usn->add_subcommand(name, what);
    added->alias(fsutil);
    added->add_option("SOURCE", usn_.source, "image file, block device, or directory of a mount")
        ->required();
    added->callback([this, command] { run_ = [this, command] { return command(usn_); }; });
    return added;
  }

  void add_usn_selection(CLI::App* command) {
    command->add_option("--since", usn_.since, "from this USN on");
    command->add_option_function<std::string>(
        "--reason",
        [this](const std::string& text) {
          const auto reasons = parse_usn_reasons(text);
          if (!reasons) throw CLI::ValidationError("--reason", "'" + text + "' is no reason");
          usn_.reasons = *reasons;
        },
        "only with one of these: create, delete, rename, data, or documented names, with commas");
    command->add_option("--path", usn_.path, "only paths that match a pattern like '/docs/*'");
    command->add_flag("--only-close", usn_.only_close, "only what the last close of a file says");
    add_json(command, usn_.json);
  }

  void add_usn() {
    CLI::App* usn = add("usn", "The change journal: what was done to which file.",
                        "ntfs-wal usn read --reason create,delete --json /mnt");
    usn->require_subcommand(1);
    CLI::App* query = add_usn_command(usn, "query", "queryjournal",
                                      "Shows the journal's identity and limits.", run_usn_query);
    add_json(query, usn_.json);
    CLI::App* read = add_usn_command(usn, "read", "readjournal", "Shows its records, oldest first.",
                                     run_usn_read);
    add_usn_selection(read);
    read->add_flag("--until-now", usn_.until_now, "not what is recorded meanwhile");
    CLI::App* watch = add_usn_command(
        usn, "watch", "tailjournal", "Shows what is recorded on a mount from now on, until Ctrl-C.",
        run_usn_watch);
    add_usn_selection(watch);
    CLI::App* create = add_usn_command(usn, "create", "createjournal",
                                       "Makes a journal, or changes its sizes.", run_usn_create);
    usn_.maximum_size = usn::kDefaultMaximumSize;
    add_size(create, "--max", usn_.maximum_size, "it may take (32M)");
    add_size(create, "--delta", usn_.allocation_delta, "that are trimmed at a time");
    add_usn_command(usn, "delete", "deletejournal", "Deletes the journal.", run_usn_delete);
    CLI::App* track = add_usn_command(
        usn, "track", "enablerangetracking",
        "Records on a mount which ranges of files are written, until it is unmounted.",
        run_usn_track);
    add_size(track, "--chunk", usn_.range_chunk, "that ranges are multiples of (16K)");
    add_size(track, "--threshold", usn_.range_threshold,
             "of the smallest file it is done for (1M)");
  }

  CLI::App app_;
  std::function<int()> run_;
  FormatCommandOptions format_;
  MountCommandOptions mount_;
  std::vector<std::string> mount_option_list_;
  std::string unmount_directory_;
  ProbeOptions probe_;
  InfoOptions info_;
  LsOptions ls_;
  CatOptions cat_;
  StatOptions stat_;
  ExtentsOptions extents_;
  LogOptions log_;
  CheckCommandOptions check_;
  RecoverOptions recover_;
  UsnOptions usn_;
};

}  // namespace

int run_command_line(int argc, char** argv) { return CommandLine().run(argc, argv); }

}  // namespace ntfs::frontend
