# Reading of options for the stand-ins of programs that need options which nobody has mistyped.

# Reads arguments as the program does: the first list names its options without a value, the second those with one. They come into `given`,
# an option and its value (or nothing) one after the other, and all else into `words`. An option that neither list names is refused. With
# `STOP_AT` words, whatever follows these is another program's.
read_options() {
    local program=$1 flags=" $2 " valued=" $3 " option
    shift 3
    words=() given=()
    while [ $# -gt 0 ]; do
        [ "${#words[@]}" != "${STOP_AT:--1}" ] || { words+=("$@"); return; }
        option=${1%%=*}
        case $1 in
            --) shift; words+=("$@"); return ;;
            --*=*)
                [[ $valued == *" $option "* ]] || { echo "$program: unknown option $option" >&2; exit 1; }
                given+=("$option" "${1#*=}")
                ;;
            -?*)
                if [[ $flags == *" $1 "* ]]; then
                    given+=("$1" "")
                elif [[ $valued == *" $1 "* ]]; then
                    [ $# -gt 1 ] || { echo "$program: $1 needs a value" >&2; exit 1; }
                    given+=("$1" "$2")
                    shift
                else
                    echo "$program: unknown option $1" >&2
                    exit 1
                fi
                ;;
            *) words+=("$1") ;;
        esac
        shift
    done
}
