#include "fuse/mount_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "fuse/byte_size.h"
#include "fuse/nearest_name.h"

namespace ntfs::frontend {

namespace {

/// One option as given: "uid=1000" has a value, "ro" has none.
struct Given {
  std::string_view text;
  std::string_view name;
  std::optional<std::string_view> value;
};

struct Flag {
  std::string_view name;
  bool MountOptions::*field;
  bool value;
};
constexpr std::array kFlags = {
    Flag{"ro", &MountOptions::read_only, true},
    Flag{"rw", &MountOptions::read_only, false},
    Flag{"norecover", &MountOptions::norecover, true},
    Flag{"allow_other", &MountOptions::allow_other, true},
    Flag{"permissions", &MountOptions::check_permissions, true},
    Flag{"default_permissions", &MountOptions::check_permissions, true},
    Flag{"acl", &MountOptions::posix_acls, true},
    Flag{"noacl", &MountOptions::posix_acls, false},
    Flag{"inherit", &MountOptions::inherit, true},
    Flag{"windows_names", &MountOptions::windows_names, true},
    Flag{"ignore_case", &MountOptions::ignore_case, true},
    Flag{"nocase", &MountOptions::ignore_case, true},
    Flag{"case_sensitive", &MountOptions::ignore_case, false},
    Flag{"compression", &MountOptions::compression, true},
    Flag{"nocompression", &MountOptions::compression, false},
    Flag{"efs_raw", &MountOptions::raw_encrypted, true},
    Flag{"show_sys_files", &MountOptions::show_system_files, true},
    Flag{"showmeta", &MountOptions::show_system_files, true},
    Flag{"noshowmeta", &MountOptions::show_system_files, false},
    Flag{"hide_hid_files", &MountOptions::hide_hidden_files, true},
    Flag{"nohidden", &MountOptions::hide_hidden_files, true},
    Flag{"hide_dot_files", &MountOptions::hide_dot_files, true},
    Flag{"remove_hiberfile", &MountOptions::remove_hiberfile, true},
    Flag{"discard", &MountOptions::discard, true},
    Flag{"nodiscard", &MountOptions::discard, false},
    Flag{"usn", &MountOptions::usn, true},
    Flag{"nousn", &MountOptions::usn, false},
    Flag{"writeback", &MountOptions::writeback, true},
    Flag{"nowriteback", &MountOptions::writeback, false},
    Flag{"nofail", &MountOptions::nofail, true},
};

/// Flags that the kernel's ntfs gives values: "case_sensitive=no".
constexpr std::array<std::string_view, 2> kWithTruth = {"show_sys_files", "case_sensitive"};

/// Passed on to mount(2), which makes them true.
constexpr std::array<std::string_view, 11> kKernelFlags = {
    "suid", "nosuid", "dev",     "nodev",      "exec",   "noexec",
    "sync", "async",  "noatime", "nodiratime", "dirsync"};
/// What mount(8), fstab and udisks say among themselves.
constexpr std::array<std::string_view, 22> kForOthers = {
    "defaults", "auto",     "noauto",     "user",         "nouser",     "users",
    "owner",    "noowner",  "group",      "nogroup",      "_netdev",    "uhelper",
    "comment",  "helper",   "loop",       "lazytime",     "nolazytime", "atime",
    "diratime", "relatime", "norelatime", "nostrictatime"};

struct Meaningless {
  std::string_view name;
  std::string_view why;
};
constexpr std::array kMeaningless = {
    Meaningless{"big_writes", "requests are large anyway"},
    Meaningless{"recover", "that is what happens anyway"},
    Meaningless{"force", "it is not needed"},
    Meaningless{"prealloc", "space is allocated late and in one piece anyway"},
    Meaningless{"noprealloc", "space is allocated late and in one piece anyway"},
    Meaningless{"silent", "chmod and chown work"},
    Meaningless{"posix_nlink", "link counts are right anyway"},
    Meaningless{"sparse", "holes are kept anyway"},
    Meaningless{"nosparse", "holes are kept"},
    Meaningless{"disable_sparse", "holes are kept"},
    Meaningless{"sys_immutable", "system files cannot be changed anyway"},
    Meaningless{"delay_mtime", "times are written late anyway"},
    Meaningless{"special_files", "special files are kept as WSL keeps them"},
    Meaningless{"locale", "names are UTF-8"},
    Meaningless{"iocharset", "names are UTF-8"},
    Meaningless{"nls", "names are UTF-8"},
    Meaningless{"utf8", "names are UTF-8 anyway"},
    Meaningless{"mft_zone_multiplier", "there is no such zone"},
    Meaningless{"kernel_cache", "that is what happens anyway"},
    Meaningless{"nonempty", "it is not needed"},
    Meaningless{"max_read", "requests have the largest size anyway"},
    Meaningless{"no_def_opts", "there is nothing to switch off"},
    Meaningless{"noacsrules", "there are no such rules"},
    Meaningless{"strictatime", "reading does not change access times"},
};

/// What user_xattr means.
constexpr std::string_view kUserXattr = "streams_interface=xattr";

/// Known, and not to be ignored: the user would rely on it.
constexpr std::array<std::string_view, 1> kNotYet = {"remount"};

constexpr std::array<std::string_view, 12> kWithValue = {
    "uid",   "gid",    "umask", "fmask",   "dmask",  "streams_interface",
    "locks", "commit", "cache", "threads", "errors", "usermapping"};

class Parser {
 public:
  Parser(const ShownOwnership& defaults, UnknownOptions unknown) : unknown_(unknown) {
    parsed_.options.ownership = defaults;
  }

  /// False when `given` is wrong; the error says why.
  bool take(const Given& given) {
    if (is_for_others(given)) return true;
    if (given.text == "user_xattr") return take({kUserXattr, "streams_interface", "xattr"});
    if (take_flag(given) || take_kernel_flag(given) || take_meaningless(given)) return true;
    if (contains(kNotYet, given.name)) {
      return fail(
          fmt::format("option '{}' is not available in this version; leave it out", given.name));
    }
    if (contains(kWithValue, given.name)) return take_value(given);
    return take_unknown(given);
  }

  ParsedOptions finish() && { return std::move(parsed_); }

 private:
  template <typename Words>
  static bool contains(const Words& words, std::string_view word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  }

  static bool is_for_others(const Given& given) {
    return given.name.starts_with("x-") || given.name.starts_with("X-") ||
           contains(kForOthers, given.name);
  }

  bool take_flag(const Given& given) {
    const bool may_have_value = contains(kWithTruth, given.name);
    const std::optional<bool> is_on = !given.value     ? true
                                      : may_have_value ? truth_of(*given.value)
                                                       : std::nullopt;
    if (!is_on) return false;
    for (const Flag& flag : kFlags) {
      if (flag.name != given.name) continue;
      parsed_.options.*flag.field = *is_on ? flag.value : !flag.value;
      return true;
    }
    return false;
  }

  static std::optional<bool> truth_of(std::string_view value) {
    constexpr std::array<std::string_view, 3> kTrue = {"1", "true", "yes"};
    constexpr std::array<std::string_view, 3> kFalse = {"0", "false", "no"};
    if (contains(kTrue, value)) return true;
    return contains(kFalse, value) ? std::optional(false) : std::nullopt;
  }

  bool take_kernel_flag(const Given& given) {
    if (given.value || !contains(kKernelFlags, given.name)) return false;
    parsed_.options.kernel_flags.emplace_back(given.name);
    return true;
  }

  bool take_meaningless(const Given& given) {
    for (const Meaningless& option : kMeaningless) {
      if (option.name != given.name) continue;
      note(fmt::format("option '{}' has no effect: {}", given.name, option.why));
      return true;
    }
    return false;
  }

  bool take_value(const Given& given) {
    if (!given.value || given.value->empty()) {
      return fail(fmt::format("option '{0}' needs a value: {0}=...", given.name));
    }
    MountOptions& options = parsed_.options;
    constexpr std::array<std::string_view, 5> kOwnership = {"uid", "gid", "umask", "fmask",
                                                            "dmask"};
    if (contains(kOwnership, given.name)) options.owner_given = true;
    if (given.name == "uid") return take_number(given, options.ownership.uid);
    if (given.name == "gid") return take_number(given, options.ownership.gid);
    if (given.name == "fmask") return take_mask(given, options.ownership.file_mask);
    if (given.name == "dmask") return take_mask(given, options.ownership.directory_mask);
    if (given.name == "umask") {
      return take_mask(given, options.ownership.file_mask) &&
             take_mask(given, options.ownership.directory_mask);
    }
    if (given.name == "commit") return take_positive(given, options.commit_seconds, 86400);
    if (given.name == "threads") return take_positive(given, options.threads, 64);
    if (given.name == "cache") return take_cache(given);
    if (given.name == "usermapping") {
      options.user_mapping = *given.value;
      return true;
    }
    return take_choice(given);
  }

  bool take_choice(const Given& given) {
    struct Choice {
      std::string_view name;
      std::string_view values;  // separated by '|'
    };
    constexpr std::array kChoices = {
        Choice{"locks", "advisory|mandatory"},
        Choice{"errors", "remount-ro|continue|recover"},
        Choice{"streams_interface", "none|xattr|windows"},
    };
    for (const Choice& choice : kChoices) {
      if (choice.name != given.name) continue;
      if (!is_among(*given.value, choice.values)) {
        return fail(fmt::format("option '{}': '{}' is none of {}", given.name, *given.value,
                                choice.values));
      }
      if (given.name == "locks") parsed_.options.mandatory_locks = *given.value == "mandatory";
      if (given.name == "streams_interface") parsed_.options.streams = interface_of(*given.value);
      return true;
    }
    return take_unknown(given);
  }

  static StreamsInterface interface_of(std::string_view value) {
    if (value == "windows") return StreamsInterface::Windows;
    return value == "xattr" ? StreamsInterface::Xattr : StreamsInterface::None;
  }

  static bool is_among(std::string_view word, std::string_view list) {
    while (!list.empty()) {
      const size_t bar = std::min(list.find('|'), list.size());
      if (list.substr(0, bar) == word) return true;
      list.remove_prefix(std::min(bar + 1, list.size()));
    }
    return false;
  }

  bool take_digits(const Given& given, int base, uint32_t limit, uint32_t& into) {
    const std::string_view text = *given.value;
    uint32_t value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value > limit) {
      return false;
    }
    into = value;
    return true;
  }
  bool take_number(const Given& given, uint32_t& into) {
    return take_digits(given, 10, UINT32_MAX - 1, into) ||
           fail(fmt::format("option '{}': '{}' is not a numeric id", given.name, *given.value));
  }
  bool take_mask(const Given& given, uint32_t& into) {
    return take_digits(given, 8, 0777, into) ||
           fail(fmt::format("option '{}': '{}' is not an octal mask like 022", given.name,
                            *given.value));
  }
  bool take_positive(const Given& given, uint32_t& into, uint32_t limit) {
    return (take_digits(given, 10, limit, into) && into > 0) ||
           fail(fmt::format("option '{}': '{}' is not a number from 1 to {}", given.name,
                            *given.value, limit));
  }
  bool take_cache(const Given& given) {
    constexpr uint64_t kLeast = uint64_t{16} << 20;
    const auto bytes = parse_byte_size(*given.value);
    if (!bytes) {
      return fail(fmt::format("option 'cache': '{}' is not a size like 256M", *given.value));
    }
    if (*bytes < kLeast) {
      return fail(fmt::format("option 'cache': {} is too small; give at least 16M", *given.value));
    }
    parsed_.options.cache_bytes = *bytes;
    return true;
  }

  bool take_unknown(const Given& given) {
    if (unknown_ == UnknownOptions::Note) {
      note(fmt::format("option '{}' is not known; ignored", given.text));
      return true;
    }
    std::vector<std::string_view> words;
    for (const Flag& flag : kFlags) words.push_back(flag.name);
    for (const Meaningless& option : kMeaningless) words.push_back(option.name);
    words.insert(words.end(), kKernelFlags.begin(), kKernelFlags.end());
    words.insert(words.end(), kForOthers.begin(), kForOthers.end());
    words.insert(words.end(), kWithValue.begin(), kWithValue.end());
    const std::string_view nearest = nearest_name(given.name, words);
    if (nearest == given.name) {
      return fail(fmt::format("option '{}' takes no value", given.name));
    }
    return fail(
        nearest.empty()
            ? fmt::format("there is no option '{}'; mount.ntfs-wal(8) lists them", given.name)
            : fmt::format("there is no option '{}'; did you mean '{}'?", given.name, nearest));
  }

  void note(std::string text) { parsed_.options.notes.push_back(std::move(text)); }
  bool fail(std::string text) {
    parsed_.error = std::move(text);
    return false;
  }

  const UnknownOptions unknown_;
  ParsedOptions parsed_;
};

Given given_of(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return {text, text, std::nullopt};
  return {text, text.substr(0, equals), text.substr(equals + 1)};
}

}  // namespace

ParsedOptions parse_mount_options(std::string_view text, const ShownOwnership& defaults,
                                  UnknownOptions unknown) {
  Parser parser(defaults, unknown);
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view one = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (!one.empty() && !parser.take(given_of(one))) break;
  }
  ParsedOptions parsed = std::move(parser).finish();
  // Each read and write has to come here, when it is made.
  if (parsed.options.mandatory_locks) parsed.options.writeback = false;
  if (parsed.error.empty() && parsed.options.norecover && !parsed.options.read_only) {
    parsed.error =
        "option 'norecover' needs 'ro': a volume whose log is not replayed cannot be "
        "written";
  }
  if (parsed.error.empty() && parsed.options.raw_encrypted && !parsed.options.read_only) {
    parsed.error =
        "option 'efs_raw' needs 'ro': what is encrypted can be saved as it is, not restored";
  }
  return parsed;
}

}  // namespace ntfs::frontend
