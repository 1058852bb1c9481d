#pragma once

// Which Windows account (SID) is which user or group of Linux, as a file of lines says:
//
//   user:group:SID    user or group may be left out; names or numbers; '#' begins a comment
//   ::SID             a pattern, from which all users and groups that no line names get theirs
//
// Root and its group are Administrators. Source: ntfs-3g(8) "User Mapping"; the pattern's
// arithmetic as ntfs-3g has it: the last sub authority grows by twice the id (users) or twice the
// id and one (groups), the one before it by the two highest bits of the id.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ondisk/security_descriptor.h"

namespace ntfs::frontend {

class UserMapping {
 public:
  /// Numbers of users and groups of this machine; nothing for an unknown name.
  struct Names {
    std::optional<uint32_t> (*user)(const std::string& name);
    std::optional<uint32_t> (*group)(const std::string& name);
  };
  /// Those of the machine.
  static Names names_of_host();

  /// Lines that mean nothing are left out, and each told in `problems`.
  static UserMapping parse(std::string_view text, const Names& names,
                           std::vector<std::string>& problems);
  /// Whether it says anything of users, and of groups.
  bool is_usable() const { return pattern_.has_value() || (!users_.empty() && !groups_.empty()); }

  /// Nothing for a user or group that is not mapped.
  std::optional<ondisk::Sid> sid_of_user(uint32_t uid) const;
  std::optional<ondisk::Sid> sid_of_group(uint32_t gid) const;
  /// 0, root, for whom the mapping does not know.
  uint32_t uid_of(const ondisk::Sid& sid) const;
  uint32_t gid_of(const ondisk::Sid& sid) const;

 private:
  struct Line {
    uint32_t id = 0;
    ondisk::Sid sid;
  };

  enum class Of { User, Group };
  std::optional<ondisk::Sid> sid_of(const std::vector<Line>& lines, uint32_t id, Of of) const;
  uint32_t id_of(const std::vector<Line>& lines, const ondisk::Sid& sid, Of of) const;
  std::optional<std::string> take_line(std::string_view line, const Names& names);

  std::vector<Line> users_;
  std::vector<Line> groups_;
  std::vector<Line> further_groups_;  // of lines that name a user, too: while it is read
  std::optional<ondisk::Sid> pattern_;
};

}  // namespace ntfs::frontend
