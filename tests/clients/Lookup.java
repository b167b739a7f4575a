import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.StringJoiner;

/** A Java program: InetAddress, also for a word that is an IPv4 address. */
class Lookup {
    public static void main(String[] words) {
        System.out.println("Java " + System.getProperty("java.version"));
        for (String word : words) {
            try {
                System.out.println(word.matches("[0-9.]+") ? reverse(word) : forward(word));
            } catch (UnknownHostException error) {
                System.out.println(canonical(error.getMessage()));
            }
        }
    }

    private static String forward(String name) throws UnknownHostException {
        StringJoiner found = new StringJoiner(" ");
        for (InetAddress address : InetAddress.getAllByName(name)) {
            String text = address.getHostAddress();
            found.add(text.contains(":") ? text.replaceFirst("(:0)+:", "::") : text);
        }
        return found.toString();
    }

    /** It gives a name only if that has the address in turn. */
    private static String reverse(String address) throws UnknownHostException {
        return InetAddress.getByName(address).getCanonicalHostName();
    }

    /** The class of the error does not tell them apart; its text is libc's. */
    private static String canonical(String message) {
        if (message.endsWith("Name or service not known")) return "NXDOMAIN";
        if (message.endsWith("No address associated with hostname")) return "NODATA";
        return message;
    }
}
